// Architectures "lfm2" and "lfm2moe": Liquid's LFM2, dense and with a mixture of experts.
// Most layers mix by a short convolution between two gates, the others by attention with norms of queries and keys.
// config.json states the width of the dense part of lfm2 before an adjustment (two thirds, times a factor, rounded up);
// GGUF files state the result. The mixture ranks experts by their sigmoid plus a bias and weighs by the sigmoid alone,
// divided by the sum + 1e-6; the first layers are dense. In GGUF files layers with a convolution have 0 KV heads.
// Source: transformers 5.24, models/lfm2 and lfm2_moe.
#include <algorithm>

#include "files/printable.h"
#include "models/architectures.h"
#include "models/decoder.h"
#include "models/hybrid_attention.h"
#include "models/read_config.h"
#include "models/tensor_names.h"

namespace invar {
namespace {

constexpr std::string_view kBiasTensor = "feed_forward.expert_bias";

// Whether each layer attends, by its kind or by a list of those that do; without either all do.
Result<std::vector<bool>> read_kinds(const Hyperparameters& keys, size_t layers) {
    if (is_gguf(keys)) return read_attending_layers(keys, layers);
    if (!keys.has("layer kinds")) {
        std::vector<bool> attending(layers, !keys.has("attending layers"));
        if (attending[0]) return attending;
        TRY_ASSIGN(const std::vector<int64_t> listed,
                   keys.integers("attending layers", 0, static_cast<int64_t>(layers) - 1));
        for (const int64_t layer : listed) attending[static_cast<size_t>(layer)] = true;
        return attending;
    }
    TRY_ASSIGN(const std::vector<std::string> kinds, keys.kinds_of_layers("layer kinds", layers));
    std::vector<bool> attending;
    for (const std::string& kind : kinds) {
        if (kind != "conv" && kind != "full_attention") {
            return fail(ErrorKind::unsupported,
                        "{}: {} has the kind '{}' for layer {}, but only conv and full_attention are supported for "
                        "this architecture",
                        keys.file(), keys.spell("layer kinds"), printable(kind), attending.size());
        }
        attending.push_back(kind == "full_attention");
    }
    return attending;
}

// What would change the result, and has no law here.
Result<void> check_what_is_not_computed(const Hyperparameters& keys) {
    TRY_ASSIGN(const bool biases, keys.boolean_or("short convolution biases", false));
    if (biases) {
        return fail(ErrorKind::unsupported,
                    "{}: {} is true, but biases of short convolutions are not supported for this architecture",
                    keys.file(), keys.spell("short convolution biases"));
    }
    if (!is_gguf(keys)) return {};
    TRY_ASSIGN(const bool causal, keys.boolean_or("causal attention", true));
    if (!causal) {
        return fail(ErrorKind::unsupported,
                    "{}: {} is false, but only attention to earlier positions is supported for this architecture",
                    keys.file(), keys.spell("causal attention"));
    }
    if (!keys.has("window")) return {};
    TRY_ASSIGN(const int64_t window, keys.integer("window", 0, int64_t{1} << 30));
    if (window == 0) return {};
    return fail(ErrorKind::unsupported, "{}: {} is {}, but windows are not supported for this architecture",
                keys.file(), keys.spell("window"), window);
}

// The width of the dense part of lfm2 in config.json.
Result<int64_t> adjusted_width(const Hyperparameters& keys) {
    const std::string_view word = keys.has("ffn width before adjustment") ? "ffn width before adjustment" : "ffn width";
    TRY_ASSIGN(int64_t width, keys.integer(word, 1, kMaximumWidth));
    TRY_ASSIGN(const bool adjusted, keys.boolean_or("adjusted ffn width", true));
    if (!adjusted) return width;
    width = 2 * width / 3;
    if (keys.has("ffn width factor")) {
        TRY_ASSIGN(const double factor, keys.positive("ffn width factor"));
        TRY_ASSIGN(const int64_t unit, keys.integer("ffn width unit", 1, kMaximumWidth));
        width = static_cast<int64_t>(std::min(factor * static_cast<double>(width), double{2 * kMaximumWidth}));
        width = (width + unit - 1) / unit * unit;
    }
    if (width >= 1 && width <= kMaximumWidth) return width;
    return fail("{}: by {} and what adjusts it, a dense part is {} wide, but must be between 1 and {}", keys.file(),
                keys.spell(word), width, kMaximumWidth);
}

Result<void> add_layers(const Hyperparameters& keys, ModelConfig& config,
                        const std::vector<decltype(LayerSpec::ffn)>& parts) {
    TRY(check_what_is_not_computed(keys));
    TRY_ASSIGN(const std::vector<bool> attending, read_kinds(keys, parts.size()));
    TRY_ASSIGN(const int64_t taps, keys.integer("short taps", 2, kMostTaps));
    AttentionGeometry attention;
    if (std::find(attending.begin(), attending.end(), true) != attending.end()) {
        TRY_ASSIGN(attention, read_hybrid_attention(keys, attending, config));
        TRY_ASSIGN(const RopeSpec rope, read_rope(keys, attention.key_width, config));
        config.ropes.push_back(rope);
        attention.rope = 0;
    }
    for (size_t i = 0; i < parts.size(); ++i) {
        LayerSpec layer{.ffn = parts[i], .norm_epsilon = config.norm_epsilon};
        if (attending[i]) {
            layer.mixer = attention;
        } else {
            layer.mixer = ShortConvolutionGeometry{.taps = static_cast<int>(taps)};
        }
        config.layers.push_back(layer);
    }
    return {};
}

Result<void> read_dense_model(const Hyperparameters& keys, ModelConfig& config) {
    TRY_ASSIGN(const int64_t layers, keys.integer("layers", 1, kMaximumLayers));
    std::vector<decltype(LayerSpec::ffn)> parts;
    if (is_gguf(keys)) {
        TRY_ASSIGN(const std::vector<int64_t> widths,
                   keys.for_each_layer("ffn width", static_cast<size_t>(layers), 1, kMaximumWidth));
        for (const int64_t width : widths) parts.emplace_back(DenseGeometry{.width = width});
    } else {
        TRY_ASSIGN(const int64_t width, adjusted_width(keys));
        parts.assign(static_cast<size_t>(layers), DenseGeometry{.width = width});
    }
    return add_layers(keys, config, parts);
}

// use_expert_bias says whether the mixtures have a bias of the choice.
Result<void> check_expert_biases(const Hyperparameters& keys, const ModelConfig& config) {
    if (is_gguf(keys)) return {};
    TRY_ASSIGN(const bool stated, keys.boolean_or("expert biases used", true));
    const TensorNames names(keys.checkpoint());
    for (size_t i = 0; i < config.layers.size(); ++i) {
        if (config.layers[i].mixture() == nullptr) continue;
        const std::string tensor = names.name(static_cast<int>(i), "exp_probs_b.bias", kBiasTensor);
        const bool there = keys.checkpoint().find(tensor) != nullptr;
        if (there == stated) continue;
        return fail("{}: {} is {}{}, but tensor '{}' is {}; config.json and the weights must come from one model",
                    keys.file(), keys.spell("expert biases used"), stated,
                    keys.has("expert biases used") ? "" : " (absent, and this is what the model's code has then)",
                    tensor, there ? "there" : "missing");
    }
    return {};
}

Result<void> read_mixture_model(const Hyperparameters& keys, ModelConfig& config) {
    TRY_ASSIGN(const int64_t layers, keys.integer("layers", 1, kMaximumLayers));
    TRY(check_router_law(keys, {2}));
    TRY_ASSIGN(std::optional<MixtureGeometry> mixture, read_mixture(keys, {.renormalised = true}));
    if (!mixture) {
        return fail("{}: {} is missing or 0, but lfm2moe has a mixture of experts", keys.file(), keys.spell("experts"));
    }
    RouteSpec& route = mixture->route;
    route.scoring = RouteSpec::Scoring::sigmoid;
    if (route.renormalise) route.sum_floor = 1e-6f;
    TRY_ASSIGN(const double factor, keys.positive_or("expert factor", 1.0));
    route.factor = static_cast<float>(factor);
    TRY_ASSIGN(const int64_t dense, keys.integer("dense layers in front", 0, kMaximumLayers));
    std::vector<decltype(LayerSpec::ffn)> parts(static_cast<size_t>(layers), *mixture);
    if (dense > 0) {
        TRY_ASSIGN(const int64_t width, keys.integer("ffn width", 1, kMaximumWidth));
        std::fill_n(parts.begin(), std::min(dense, layers), DenseGeometry{.width = width});
    }
    TRY(add_layers(keys, config, parts));
    return check_expert_biases(keys, config);
}

Result<ModelConfig> read_dense(const Checkpoint& checkpoint) {
    return read_decoder_config(
        checkpoint, {.architecture = "lfm2", .epsilon = "plain norm epsilon", .read_layers = read_dense_model});
}

Result<ModelConfig> read_mixture_config(const Checkpoint& checkpoint) {
    return read_decoder_config(checkpoint, {.architecture = "lfm2moe",
                                            .epsilon = "plain norm epsilon",
                                            .computes = {"routed_scaling_factor"},
                                            .read_layers = read_mixture_model});
}

DecoderTraits traits() {
    DecoderTraits traits{.head_norms = true};
    traits.norms.mixer.weight.hugging_face = "operator_norm.weight";
    traits.norms.ffn.weight.hugging_face = "ffn_norm.weight";
    traits.norms.output.weight = {"output_norm", "token_embd_norm.weight", "embedding_norm.weight"};
    traits.attention.output = "self_attn.out_proj.weight";
    traits.attention.query_norm = "self_attn.q_layernorm.weight";
    traits.attention.key_norm = "self_attn.k_layernorm.weight";
    traits.dense.gate.hugging_face = "feed_forward.w1.weight";
    traits.dense.up.hugging_face = "feed_forward.w3.weight";
    traits.dense.down.hugging_face = "feed_forward.w2.weight";
    traits.mixture.router = "feed_forward.gate.weight";
    traits.mixture.selection_bias = kBiasTensor;
    traits.mixture.gate = "feed_forward.experts.{}.w1.weight";
    traits.mixture.up = "feed_forward.experts.{}.w3.weight";
    traits.mixture.down = "feed_forward.experts.{}.w2.weight";
    traits.mixture.fused = "feed_forward.experts.gate_up_proj";
    traits.mixture.down_fused = "feed_forward.experts.down_proj";
    return traits;
}

}  // namespace

const Architecture kLfm2Architecture{.name = "lfm2",
                                     .summary = "Liquid's dense LFM2: short convolutions and attention",
                                     .model_types = {"lfm2"},
                                     .read_config = read_dense,
                                     .declare = declare_with<traits>,
                                     .build = build_with<traits>};
const Architecture kLfm2MoeArchitecture{.name = "lfm2moe",
                                        .summary = "Liquid's LFM2 with a mixture of experts",
                                        .model_types = {"lfm2_moe"},
                                        .read_config = read_mixture_config,
                                        .declare = declare_with<traits>,
                                        .build = build_with<traits>};

}  // namespace invar
