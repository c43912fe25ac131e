// Architecture "glm4moe": GLM-4.5, 4.6 and 4.7, mixtures of experts.
// Rope turns a share of a head, whose halves are pairs. Queries and keys have norms in the large models and none in
// Air, which the tensors tell. The router is that of DeepSeek-V3 (sigmoids, a bias for the choice alone, weights from
// what it was before the bias). The first layers are dense. A last layer that predicts further tokens is left out.
#include <cmath>

#include "models/architectures.h"
#include "models/decoder.h"
#include "models/read_config.h"
#include "models/read_mixture.h"
#include "models/tensor_names.h"

namespace invar {
namespace {

ConfigFamily family() {
    return {.architecture = "glm4moe",
            .computes = {"scoring_func", "topk_method", "n_group", "first_k_dense_replace", "routed_scaling_factor",
                         "partial_rotary_factor", "use_qk_norm"}};
}

bool has_head_norms(const Checkpoint& checkpoint) {
    return checkpoint.find(TensorNames(checkpoint).name(0, "attn_q_norm.weight", "self_attn.q_norm.weight")) != nullptr;
}

Result<void> check_head_norms(const Hyperparameters& keys) {
    const Checkpoint& checkpoint = keys.checkpoint();
    if (checkpoint.dialect() == Dialect::gguf) return {};
    TRY_ASSIGN(const bool stated, keys.boolean_or("query and key norms", false));
    const bool there = has_head_norms(checkpoint);
    if (stated == there) return {};
    return fail("{}: {} is {}, but tensor '{}' is {}; config.json and the weights must come from one model",
                keys.file(), keys.spell("query and key norms"), stated,
                TensorNames(checkpoint).name(0, "attn_q_norm.weight", "self_attn.q_norm.weight"),
                there ? "there" : "missing");
}

Result<ModelConfig> read_config(const Checkpoint& checkpoint) {
    const Hyperparameters keys(checkpoint);
    TRY_ASSIGN(ModelConfig config, read_model_config(keys, family()));
    TRY(check_head_norms(keys));
    TRY_ASSIGN(const size_t layers, read_layer_count(keys, config));
    TRY_ASSIGN(const int64_t heads, keys.integer("heads", 1, kMaximumHeads));
    TRY_ASSIGN(const int64_t kv_heads, keys.integer("KV heads", 1, heads));
    if (heads % kv_heads != 0)
        return fail("{}: there are {} query heads and {} KV heads, but the first must be a multiple of the second",
                    keys.file(), heads, kv_heads);
    TRY_ASSIGN(const int64_t width,
               read_head_width(keys, "key width", "attn_k.weight", "self_attn.k_proj.weight", kv_heads, config.notes));
    TRY_ASSIGN(const int64_t values, read_head_width(keys, "value width", "attn_v.weight", "self_attn.v_proj.weight",
                                                     kv_heads, config.notes));
    TRY_ASSIGN(const RopeSpec rope, read_rope(keys, width, config));
    config.ropes.push_back(rope);
    const AttentionGeometry attention{.heads = static_cast<int>(heads),
                                      .kv_heads = static_cast<int>(kv_heads),
                                      .key_width = static_cast<int>(width),
                                      .value_width = static_cast<int>(values),
                                      .rope = 0,
                                      .scale = 1.0f / std::sqrt(static_cast<float>(width))};
    TRY_ASSIGN(const MixtureGeometry mixture, read_shared_mixture(keys, RouteSpec::Scoring::sigmoid, config.notes));
    TRY_ASSIGN(const auto parts, read_feed_forward(keys, layers, mixture));
    for (const auto& part : parts)
        config.layers.push_back({.mixer = attention, .ffn = part, .norm_epsilon = config.norm_epsilon});
    return config;
}

std::vector<WantedWeight> declare(const ModelConfig& config, const Checkpoint& checkpoint) {
    DecoderTraits traits{.head_norms = has_head_norms(checkpoint), .selection_biases = true};
    traits.norms.ffn.weight.gguf = "post_attention_norm.weight";
    traits.mixture.shared.gate.hugging_face = "mlp.shared_experts.gate_proj.weight";
    traits.mixture.shared.up.hugging_face = "mlp.shared_experts.up_proj.weight";
    traits.mixture.shared.down.hugging_face = "mlp.shared_experts.down_proj.weight";
    return declare_decoder(config, checkpoint, traits);
}

}  // namespace

const Architecture kGlm4MoeArchitecture{.name = "glm4moe",
                                        .summary = "GLM-4.5, 4.6 and 4.7, mixtures of experts",
                                        .model_types = {"glm4_moe"},
                                        .read_config = read_config,
                                        .declare = declare,
                                        .build = build_decoder};

}  // namespace invar
