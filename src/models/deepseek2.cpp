// Architecture "deepseek2": multi-head latent attention with a mixture of experts. DeepSeek V2, V3, R1 and V3.1, Kimi
// K2, Moonlight and GLM-4.7-Flash. Keys and values are linear in a small vector, which is cached with one rotated key
// for all heads; attention.cpp computes the absorbed form. Rope's pairs are neighbours in both containers. The norms
// between two projections have the epsilon 1e-6, whatever the config says of the others. A rope scaled by YaRN also
// multiplies the scale of scores by g(mscale_all_dim)^2, g(x) = 0.1 x ln(factor) + 1; the angles are multiplied by
// g(mscale) / g(mscale_all_dim). GGUF files hold 0.1 * mscale_all_dim in binary32 as rope.scaling.yarn_log_multiplier,
// which is taken as both. Files from before that have none, and from before key_length_mla the projection of keys and
// values in one tensor.
#include <fmt/format.h>

#include <cmath>

#include "models/architectures.h"
#include "models/decoder.h"
#include "models/read_config.h"
#include "models/read_mixture.h"

namespace invar {
namespace {

constexpr float kInnerEpsilon = 1e-6f;
// A GGUF file of GLM-4.7-Flash from before its kind of router had a key.
constexpr int64_t kFlashVocabulary = 154880;
constexpr size_t kFlashLayers = 47;

ConfigFamily family() {
    return {.architecture = "deepseek2",
            .computes = {"scoring_func", "topk_method", "n_group", "first_k_dense_replace", "mlp_layer_types",
                         "routed_scaling_factor", "rope_interleave"}};
}

// The widths of a head's key (both parts) and value, in a GGUF file.
Result<void> read_gguf_widths(const Hyperparameters& keys, LatentGeometry& latent) {
    const bool absorbed = keys.has("latent key width");
    TRY_ASSIGN(const int64_t key, keys.integer(absorbed ? "latent key width" : "key width", 1, kMaximumHeadWidth));
    TRY_ASSIGN(const int64_t value,
               keys.integer(absorbed ? "latent value width" : "value width", 1, kMaximumHeadWidth));
    if (key <= latent.rope_width) {
        return fail("{}: {} is {}, but {} of them turn and others must remain", keys.file(),
                    keys.spell(absorbed ? "latent key width" : "key width"), key, latent.rope_width);
    }
    latent.plain_width = static_cast<int>(key) - latent.rope_width;
    latent.value_width = static_cast<int>(value);
    if (!absorbed) return {};
    TRY_ASSIGN(const int64_t cached, keys.integer("key width", 1, kMaximumHeadWidth));
    if (cached == latent.latent + latent.rope_width) return {};
    return fail("{}: {} is {}, but the cached vector and its rotated key have {} and {} elements", keys.file(),
                keys.spell("key width"), cached, latent.latent, latent.rope_width);
}

Result<LatentGeometry> read_latent(const Hyperparameters& keys) {
    LatentGeometry latent{.rope = 0, .inner_epsilon = kInnerEpsilon};
    TRY_ASSIGN(const int64_t heads, keys.integer("heads", 1, kMaximumHeads));
    latent.heads = static_cast<int>(heads);
    if (keys.has("KV heads")) {
        TRY_ASSIGN(const int64_t kv_heads, keys.integer("KV heads", 1, kMaximumHeads));
        if (kv_heads != heads && !(is_gguf(keys) && kv_heads == 1)) {
            return fail("{}: {} is {}, but latent attention has a key for each of its {} heads", keys.file(),
                        keys.spell("KV heads"), kv_heads, heads);
        }
    }
    if (keys.has("query rank")) {
        TRY_ASSIGN(const int64_t rank, keys.integer("query rank", 0, kMaximumWidth));
        latent.query_rank = static_cast<int>(rank);
    }
    TRY_ASSIGN(const int64_t rotated, keys.integer("rotated key width", 2, kMaximumHeadWidth / 2));
    TRY_ASSIGN(const int64_t vector, keys.integer("latent width", 1, kMaximumHeadWidth - rotated));
    latent.rope_width = static_cast<int>(rotated);
    latent.latent = static_cast<int>(vector);
    if (is_gguf(keys)) {
        TRY(read_gguf_widths(keys, latent));
        return latent;
    }
    TRY_ASSIGN(const int64_t plain, keys.integer("plain key width", 1, kMaximumHeadWidth));
    TRY_ASSIGN(const int64_t value, keys.integer("latent value width", 1, kMaximumHeadWidth));
    latent.plain_width = static_cast<int>(plain);
    latent.value_width = static_cast<int>(value);
    return latent;
}

// 0.1 times the scale of all elements as GGUF files hold it, so that both containers mean the same number. 0: none.
Result<double> read_log_multiplier(const Hyperparameters& keys) {
    if (is_gguf(keys)) return keys.positive_or("yarn scale", 0.0);
    TRY_ASSIGN(const double all, keys.positive_or("yarn scale of all", 0.0));
    return static_cast<double>(static_cast<float>(0.1 * all));
}

// Sets the factor of rope's angles and returns that of the scores.
Result<double> read_yarn_scales(const Hyperparameters& keys, RopeSpec& rope, ModelConfig& config) {
    if (is_gguf(keys) && rope.scaling == RopeSpec::Scaling::yarn && !keys.has("yarn scale")) {
        config.notes.push_back(
            fmt::format("{} is absent; YaRN scales cosines and sines as in its paper, and scores are not scaled",
                        keys.spell("yarn scale")));
    }
    TRY_ASSIGN(const double multiplier, read_log_multiplier(keys));
    if (rope.scaling == RopeSpec::Scaling::none || multiplier == 0) return 1.0;
    if (rope.scaling != RopeSpec::Scaling::yarn) {
        return fail(ErrorKind::unsupported, "{}: {} is stated, but is supported with YaRN only", keys.file(),
                    keys.spell(is_gguf(keys) ? "yarn scale" : "yarn scale of all"));
    }
    const double of_all = yarn_attention(rope.factor, 10 * multiplier);
    const double paper = yarn_attention(rope.factor, 1.0);
    if (is_gguf(keys)) {
        rope.attn_factor = 1.0 / paper;
    } else if (keys.has("yarn scale") && !keys.has("yarn multiplier")) {
        TRY_ASSIGN(const double all, keys.positive("yarn scale of all"));
        TRY_ASSIGN(const double scale, keys.positive("yarn scale"));
        rope.attn_factor = yarn_attention(rope.factor, scale) / yarn_attention(rope.factor, all) / paper;
    }
    return of_all * of_all;
}

// What the kind of model decides, where a GGUF file does not say it.
RouteSpec::Scoring scoring_of(const Hyperparameters& keys, std::string_view model_type, const ModelConfig& config,
                              size_t layers) {
    const bool flash = config.vocabulary == kFlashVocabulary && (layers == kFlashLayers || layers == kFlashLayers + 1);
    const bool softmax = is_gguf(keys) ? !flash : model_type == "deepseek_v2";
    return softmax ? RouteSpec::Scoring::softmax : RouteSpec::Scoring::sigmoid;
}

Result<ModelConfig> read_config(const Checkpoint& checkpoint) {
    const Hyperparameters keys(checkpoint);
    TRY_ASSIGN(const std::string model_type, Hyperparameters::architecture(checkpoint));
    TRY_ASSIGN(ModelConfig config, read_model_config(keys, family()));
    TRY_ASSIGN(const size_t layers, read_layer_count(keys, config));
    TRY_ASSIGN(LatentGeometry latent, read_latent(keys));
    TRY_ASSIGN(const bool neighbours, keys.boolean_or("interleaved rope", true));
    TRY_ASSIGN(RopeSpec rope,
               read_rope(keys, latent.rope_width, config,
                         {.pairing = neighbours ? RopePairing::adjacent : RopePairing::halves, .scale_is_read = true}));
    TRY_ASSIGN(const double scores, read_yarn_scales(keys, rope, config));
    latent.scale = static_cast<float>(scores / std::sqrt(static_cast<double>(latent.plain_width + latent.rope_width)));
    config.ropes.push_back(rope);
    TRY_ASSIGN(const MixtureGeometry mixture,
               read_shared_mixture(keys, scoring_of(keys, model_type, config, layers), config.notes));
    TRY_ASSIGN(const auto parts, read_feed_forward(keys, layers, mixture));
    for (const auto& part : parts)
        config.layers.push_back({.mixer = latent, .ffn = part, .norm_epsilon = config.norm_epsilon});
    return config;
}

std::vector<WantedWeight> declare(const ModelConfig& config, const Checkpoint& checkpoint) {
    MixtureNames mixture;
    mixture.shared.gate.hugging_face = "mlp.shared_experts.gate_proj.weight";
    mixture.shared.up.hugging_face = "mlp.shared_experts.up_proj.weight";
    mixture.shared.down.hugging_face = "mlp.shared_experts.down_proj.weight";
    return declare_decoder(config, checkpoint, {.selection_biases = true, .mixture = mixture});
}

}  // namespace

const Architecture kDeepseek2Architecture{
    .name = "deepseek2",
    .summary = "DeepSeek V2 and V3, Kimi K2, Moonlight, GLM-4.7-Flash: latent attention",
    .model_types = {"deepseek_v2", "deepseek_v3", "kimi_k2", "glm4_moe_lite"},
    .read_config = read_config,
    .declare = declare,
    .build = build_decoder};

}  // namespace invar
