#include "models/gpt_config.h"

#include <fmt/format.h>

#include <cmath>

#include "files/printable.h"

namespace invar {
namespace {

// GELU in one of its two forms, as config.json calls them.
Result<ActivationSpec> read_gelu(const Hyperparameters& keys, const GptRules& rules, ModelConfig& config) {
    if (is_gguf(keys)) {
        config.notes.push_back(fmt::format("a GGUF file of {} does not name its activation; {} is what it means",
                                           config.architecture, activation_name(rules.activation)));
    }
    if (!keys.has("activation")) return ActivationSpec{.kind = rules.activation};
    TRY_ASSIGN(const std::string name, keys.text("activation"));
    if (name == "gelu") return ActivationSpec{.kind = Activation::gelu};
    if (name == "gelu_new" || name == "gelu_fast" || name == "gelu_pytorch_tanh")
        return ActivationSpec{.kind = Activation::gelu_tanh};
    return fail(ErrorKind::unsupported,
                "{}: {} is '{}', but only gelu, gelu_new, gelu_fast and gelu_pytorch_tanh are supported for this "
                "architecture",
                keys.file(), keys.spell("activation"), printable(name));
}

// The width of each layer's feed-forward part, which a config may leave to the code: four times the model's.
Result<std::vector<int64_t>> read_ffn_widths(const Hyperparameters& keys, size_t layers, ModelConfig& config) {
    if (is_gguf(keys) || keys.has("ffn width")) return keys.for_each_layer("ffn width", layers, 1, kMaximumWidth);
    config.notes.push_back(
        fmt::format("{} is absent; {} is four times the width", keys.spell("ffn width"), 4 * config.width));
    return std::vector<int64_t>(layers, 4 * config.width);
}

}  // namespace

Result<void> read_gpt_layers(const Hyperparameters& keys, ModelConfig& config, const GptRules& rules) {
    TRY_ASSIGN(const int64_t layers, keys.integer("layers", 1, kMaximumLayers));
    TRY_ASSIGN(const int64_t heads, keys.integer("heads", 1, kMaximumHeads));
    const int64_t head_width = config.width / heads, kv_heads = rules.kv_heads > 0 ? rules.kv_heads : heads;
    if (config.width % heads != 0 || head_width > kMaximumHeadWidth) {
        return fail("{}: {} is {}, but heads share the width of {} evenly and have at most {} elements", keys.file(),
                    keys.spell("heads"), heads, config.width, kMaximumHeadWidth);
    }
    if (heads % kv_heads != 0) {
        return fail("{}: {} is {}, but must be a multiple of the {} KV heads", keys.file(), keys.spell("heads"), heads,
                    kv_heads);
    }
    TRY_ASSIGN(const std::vector<int64_t> ffn, read_ffn_widths(keys, static_cast<size_t>(layers), config));
    TRY_ASSIGN(const ActivationSpec activation, read_gelu(keys, rules, config));
    for (const int64_t width : ffn) {
        config.layers.push_back({.mixer = AttentionGeometry{.heads = static_cast<int>(heads),
                                                            .kv_heads = static_cast<int>(kv_heads),
                                                            .key_width = static_cast<int>(head_width),
                                                            .value_width = static_cast<int>(head_width),
                                                            .rope = rules.rope ? 0 : -1,
                                                            .scale = 1.0f / std::sqrt(static_cast<float>(head_width))},
                                 .ffn = DenseGeometry{.width = width, .activation = activation, .gated = false},
                                 .norm_epsilon = config.norm_epsilon});
    }
    if (!rules.rope) return {};
    TRY_ASSIGN(const RopeSpec rope, read_rope(keys, head_width, config, *rules.rope));
    config.ropes.push_back(rope);
    return {};
}

}  // namespace invar
