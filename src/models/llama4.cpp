// Architecture "llama4": the text model of Llama 4 Scout and Maverick.
// Layers with rope attend in blocks of positions: a position sees those of its own block up to itself. Every fourth
// layer or so has no rope, attends to all, and multiplies queries by 1 + 0.1 ln(1 + floor((position + 1) /
// 8192)). Rope turns pairs of neighbours in both containers; behind it queries and keys are normalised per head,
// without a weight, except in Maverick. The router ranks by logits; the sigmoid of a chosen one multiplies what its
// expert reads, and an expert of the same width takes every token. Dense layers may alternate with mixtures. GGUF has
// no keys for blocks, temperature, layers without rope and norms: they are those of the published models, as llama.cpp
// has it (no norms if there are 128 experts). Source: transformers 5.24, models/llama4.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "files/printable.h"
#include "models/architectures.h"
#include "models/decoder.h"
#include "models/read_config.h"

namespace invar {
namespace {

constexpr int64_t kGgufBlock = 8192, kGgufInterval = 4, kExpertsWithoutNorms = 128;

// Whether each layer rotates positions.
Result<std::vector<bool>> read_rotating_layers(const Hyperparameters& keys, size_t layers) {
    std::vector<bool> rotates;
    if (keys.has("layers with rope")) {
        TRY_ASSIGN(const std::vector<int64_t> listed, keys.integers("layers with rope", 0, 1));
        if (!listed.empty() && listed.size() < layers) {
            return fail("{}: {} has {} numbers, but the model has {} layers", keys.file(),
                        keys.spell("layers with rope"), listed.size(), layers);
        }
        for (size_t i = 0; i < layers && !listed.empty(); ++i) rotates.push_back(listed[i] == 1);
        if (!rotates.empty()) return rotates;
    }
    int64_t interval = kGgufInterval;
    if (!is_gguf(keys)) {
        TRY_ASSIGN(interval, keys.integer("interval without rope", 1, kMaximumLayers));
    }
    for (size_t i = 0; i < layers; ++i) rotates.push_back(static_cast<int64_t>(i + 1) % interval != 0);
    return rotates;
}

// Whether each layer attends in blocks; without a list those do that rotate.
Result<std::vector<bool>> read_blocked_layers(const Hyperparameters& keys, const std::vector<bool>& rotates) {
    if (!keys.has("layer kinds")) return rotates;
    TRY_ASSIGN(const std::vector<std::string> kinds, keys.kinds_of_layers("layer kinds", rotates.size()));
    std::vector<bool> blocked;
    for (const std::string& kind : kinds) {
        if (kind != "chunked_attention" && kind != "full_attention") {
            return fail(ErrorKind::unsupported,
                        "{}: {} has the kind '{}' for layer {}, but only chunked_attention and full_attention are "
                        "supported for this architecture",
                        keys.file(), keys.spell("layer kinds"), printable(kind), blocked.size());
        }
        blocked.push_back(kind == "chunked_attention");
    }
    return blocked;
}

// Positions of a block.
Result<int64_t> read_block(const Hyperparameters& keys) {
    if (!is_gguf(keys)) return keys.integer("attention block", 1, int64_t{1} << 30);
    if (!keys.has("attention block")) return kGgufBlock;
    TRY_ASSIGN(const int64_t stated, keys.integer("attention block", INT32_MIN, INT32_MAX));
    if (stated == kGgufBlock) return kGgufBlock;
    return fail(ErrorKind::unsupported, "{}: {} is {}, but only {} is supported for this architecture", keys.file(),
                keys.spell("attention block"), stated, kGgufBlock);
}

Result<PositionScale> read_temperature(const Hyperparameters& keys) {
    PositionScale temperature{.beta = 0.1f, .length = kGgufBlock, .offset = 1};
    if (is_gguf(keys)) return temperature;
    bool used = true;
    if (keys.has("query temperature used")) {
        const Result<bool> truth = keys.boolean_or("query temperature used", true);
        used = truth.value_or(true);
        if (!truth) {  // some configs have a number, of which only 0 means no
            TRY_ASSIGN(const int64_t number, keys.integer("query temperature used", 0, INT32_MAX));
            used = number != 0;
        }
    }
    if (!used) return PositionScale();
    TRY_ASSIGN(const double strength, keys.positive("query temperature strength"));
    temperature.beta = static_cast<float>(strength);
    TRY_ASSIGN(temperature.length, keys.integer("query temperature floor", 1, int64_t{1} << 40));
    return temperature;
}

Result<MixtureGeometry> read_experts(const Hyperparameters& keys) {
    TRY(check_router_law(keys, {2}));
    TRY_ASSIGN(const bool renormalised, keys.boolean_or("renormalise", false));
    if (renormalised) {
        return fail(ErrorKind::unsupported, "{}: {} is true, but only false is supported for this architecture",
                    keys.file(), keys.spell("renormalise"));
    }
    TRY_ASSIGN(const int64_t count, keys.integer("experts", 1, kMaximumExperts));
    TRY_ASSIGN(const int64_t used, read_experts_per_token(keys, count));
    TRY_ASSIGN(const int64_t width, keys.integer("width of experts", 1, kMaximumWidth));
    MixtureGeometry mixture{.experts = static_cast<int>(count), .width = width, .shared_width = width};
    mixture.weighs_inputs = true;
    mixture.route.experts_per_row = static_cast<int>(used);
    mixture.route.scoring = RouteSpec::Scoring::sigmoid_of_chosen;
    mixture.route.renormalise = false;
    TRY_ASSIGN(const double factor, keys.positive_or("expert factor", 1.0));
    mixture.route.factor = static_cast<float>(factor);
    return mixture;
}

// Whether each layer has the mixture; the others are dense.
Result<std::vector<bool>> read_mixture_layers(const Hyperparameters& keys, size_t layers) {
    std::vector<bool> mixture(layers, false);
    if (keys.has("layers of experts")) {
        TRY_ASSIGN(const std::vector<int64_t> listed,
                   keys.integers("layers of experts", 0, static_cast<int64_t>(layers) - 1));
        for (const int64_t layer : listed) mixture[static_cast<size_t>(layer)] = true;
        return mixture;
    }
    TRY_ASSIGN(const int64_t step, keys.integer("step of experts", 1, kMaximumLayers));
    for (size_t i = 0; i < layers; ++i) mixture[i] = static_cast<int64_t>(i + 1) % step == 0;
    return mixture;
}

Result<AttentionGeometry> read_attention(const Hyperparameters& keys, int64_t experts, ModelConfig& config) {
    TRY_ASSIGN(const int64_t heads, keys.integer("heads", 1, kMaximumHeads));
    TRY_ASSIGN(const int64_t kv_heads, keys.integer("KV heads", 1, heads));
    if (heads % kv_heads != 0) {
        return fail("{}: there are {} query heads and {} KV heads, but the first must be a multiple of the second",
                    keys.file(), heads, kv_heads);
    }
    TRY_ASSIGN(const int64_t key_width,
               read_head_width(keys, "key width", "attn_k.weight", "self_attn.k_proj.weight", kv_heads, config.notes));
    TRY_ASSIGN(const int64_t value_width, read_head_width(keys, "value width", "attn_v.weight",
                                                          "self_attn.v_proj.weight", kv_heads, config.notes));
    AttentionGeometry attention{.heads = static_cast<int>(heads),
                                .kv_heads = static_cast<int>(kv_heads),
                                .key_width = static_cast<int>(key_width),
                                .value_width = static_cast<int>(value_width),
                                .scale = 1.0f / std::sqrt(static_cast<float>(key_width)),
                                .norms_behind_rope = true};
    if (is_gguf(keys) && keys.has("score scale")) {
        TRY_ASSIGN(const double scale, keys.positive("score scale"));
        attention.scale = static_cast<float>(scale);
    }
    attention.unit_queries_and_keys = experts != kExpertsWithoutNorms;
    if (!is_gguf(keys)) {
        TRY_ASSIGN(attention.unit_queries_and_keys, keys.boolean_or("query and key norms", true));
    }
    return attention;
}

Result<void> read_layers(const Hyperparameters& keys, ModelConfig& config) {
    TRY_ASSIGN(const int64_t count, keys.integer("layers", 1, kMaximumLayers));
    const auto layers = static_cast<size_t>(count);
    TRY_ASSIGN(const MixtureGeometry mixture, read_experts(keys));
    TRY_ASSIGN(const std::vector<bool> mixed, read_mixture_layers(keys, layers));
    DenseGeometry dense;
    if (std::find(mixed.begin(), mixed.end(), false) != mixed.end()) {
        TRY_ASSIGN(dense.width, keys.integer("dense width", 1, kMaximumWidth));
    }
    TRY_ASSIGN(const AttentionGeometry attention, read_attention(keys, mixture.experts, config));
    TRY_ASSIGN(const std::vector<bool> rotates, read_rotating_layers(keys, layers));
    TRY_ASSIGN(const std::vector<bool> blocked, read_blocked_layers(keys, rotates));
    TRY_ASSIGN(const int64_t block, read_block(keys));
    TRY_ASSIGN(const PositionScale temperature, read_temperature(keys));
    if (is_gguf(keys)) {
        config.notes.push_back(
            fmt::format("blocks and temperature of {} positions, every {}th layer without rope, {} norms of queries "
                        "and keys: GGUF has no keys for them",
                        block, kGgufInterval, attention.unit_queries_and_keys ? "and" : "and no"));
    }
    if (std::find(rotates.begin(), rotates.end(), true) != rotates.end()) {
        TRY_ASSIGN(const RopeSpec rope,
                   read_rope(keys, attention.key_width, config, {.pairing = RopePairing::adjacent}));
        config.ropes.push_back(rope);
    }
    for (size_t i = 0; i < layers; ++i) {
        AttentionGeometry own = attention;
        own.rope = rotates[i] ? 0 : -1;
        if (blocked[i]) {
            own.reach = Reach::in_blocks;
            own.window = static_cast<int>(block);
        }
        own.unit_queries_and_keys = attention.unit_queries_and_keys && rotates[i];
        if (!rotates[i]) own.temperature = temperature;
        LayerSpec layer{.mixer = own, .ffn = dense, .norm_epsilon = config.norm_epsilon};
        if (mixed[i]) layer.ffn = mixture;
        config.layers.push_back(layer);
    }
    return {};
}

Result<ModelConfig> read_config(const Checkpoint& checkpoint) {
    return read_decoder_config(checkpoint, {.architecture = "llama4",
                                            .computes = {"attention_chunk_size", "attn_temperature_tuning",
                                                         "no_rope_layers", "no_rope_layer_interval", "use_qk_norm"},
                                            .read_layers = read_layers});
}

DecoderTraits traits() {
    DecoderTraits traits{.experts_by_column = true};
    traits.dense.gate.hugging_face = "feed_forward.gate_proj.weight";
    traits.dense.up.hugging_face = "feed_forward.up_proj.weight";
    traits.dense.down.hugging_face = "feed_forward.down_proj.weight";
    traits.mixture.router = "feed_forward.router.weight";
    traits.mixture.gate = "feed_forward.experts.{}.gate_proj.weight";
    traits.mixture.up = "feed_forward.experts.{}.up_proj.weight";
    traits.mixture.down = "feed_forward.experts.{}.down_proj.weight";
    traits.mixture.fused = "feed_forward.experts.gate_up_proj";
    traits.mixture.down_fused = "feed_forward.experts.down_proj";
    traits.mixture.shared.gate.hugging_face = "feed_forward.shared_expert.gate_proj.weight";
    traits.mixture.shared.up.hugging_face = "feed_forward.shared_expert.up_proj.weight";
    traits.mixture.shared.down.hugging_face = "feed_forward.shared_expert.down_proj.weight";
    return traits;
}

}  // namespace

const Architecture kLlama4Architecture{.name = "llama4",
                                       .summary = "Llama 4 Scout and Maverick, their text models",
                                       .model_types = {"llama4_text"},
                                       .read_config = read_config,
                                       .declare = declare_with<traits>,
                                       .build = build_with<traits>};

}  // namespace invar
