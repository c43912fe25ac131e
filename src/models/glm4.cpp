// Architecture "glm4": GLM-4-0414 and GLM-Z1, dense.
// Rope turns a share of a head, whose pairs are neighbours in both containers. Each branch has a norm in front and one
// behind. The rows of gate and up are one tensor, which GGUF files call ffn_up. Biases of queries, keys and values are
// used if the file has them.
#include <cmath>

#include "models/architectures.h"
#include "models/decoder.h"
#include "models/read_config.h"

namespace invar {
namespace {

ConfigFamily family() { return {.architecture = "glm4", .computes = {"partial_rotary_factor"}}; }

Result<ModelConfig> read_config(const Checkpoint& checkpoint) {
    const Hyperparameters keys(checkpoint);
    TRY_ASSIGN(ModelConfig config, read_model_config(keys, family()));
    TRY_ASSIGN(const int64_t count, keys.integer("layers", 1, kMaximumLayers));
    const auto layers = static_cast<size_t>(count);
    TRY_ASSIGN(const Heads heads, read_heads(keys, layers, config));
    TRY_ASSIGN(const int64_t width, read_head_width(keys, "key width", "attn_k.weight", "self_attn.k_proj.weight",
                                                    heads.kv[0], config.notes));
    TRY_ASSIGN(const int64_t values, read_head_width(keys, "value width", "attn_v.weight", "self_attn.v_proj.weight",
                                                     heads.kv[0], config.notes));
    TRY_ASSIGN(const RopeSpec rope, read_rope(keys, width, config, {.pairing = RopePairing::adjacent}));
    config.ropes.push_back(rope);
    TRY_ASSIGN(const std::vector<int64_t> ffn, keys.for_each_layer("ffn width", layers, 1, kMaximumWidth));
    for (size_t i = 0; i < layers; ++i) {
        config.layers.push_back({.mixer = AttentionGeometry{.heads = static_cast<int>(heads.query[i]),
                                                            .kv_heads = static_cast<int>(heads.kv[i]),
                                                            .key_width = static_cast<int>(width),
                                                            .value_width = static_cast<int>(values),
                                                            .rope = 0,
                                                            .scale = 1.0f / std::sqrt(static_cast<float>(width))},
                                 .ffn = DenseGeometry{.width = ffn[i]},
                                 .norm_epsilon = config.norm_epsilon});
    }
    return config;
}

std::vector<WantedWeight> declare(const ModelConfig& config, const Checkpoint& checkpoint) {
    DecoderTraits traits;
    traits.norms.mixer_post.weight = {"attention_post_norm", "post_attention_norm.weight",
                                      "post_self_attn_layernorm.weight"};
    traits.norms.ffn_post.weight = {"ffn_post_norm", "post_ffw_norm.weight", "post_mlp_layernorm.weight"};
    traits.dense.gguf_fused = "ffn_up.weight";
    traits.dense.hugging_face_fused = "mlp.gate_up_proj.weight";
    traits.dense.up.hugging_face = "mlp.gate_up_proj.weight";
    return declare_decoder(config, checkpoint, traits);
}

// Building needs the roles alone.
Result<std::unique_ptr<Model>> build(const ModelConfig& config, const WeightSource& weights) {
    DecoderTraits traits;
    traits.norms.mixer_post.weight.role = "attention_post_norm";
    traits.norms.ffn_post.weight.role = "ffn_post_norm";
    return build_decoder(config, weights, traits);
}

}  // namespace

const Architecture kGlm4Architecture{.name = "glm4",
                                     .summary = "GLM-4-0414 and GLM-Z1, dense",
                                     .model_types = {"glm4"},
                                     .read_config = read_config,
                                     .declare = declare,
                                     .build = build};

}  // namespace invar
