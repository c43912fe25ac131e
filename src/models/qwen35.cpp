// Architectures "qwen35", "qwen35moe" and "qwen3next": Qwen3.5, dense and with a mixture of experts, and Qwen3-Next.
// Most layers are gated delta nets; every fourth or so attends. Attention has a gate behind each head's query, norms of
// queries and keys, and rope in the first quarter of a head. The mixture is a softmax over all experts, the best k
// renormalised, and an expert for every token with a gate of its own. Hugging Face's files hold the weights of norms
// less one, but for that of a delta net's result, and A as the logarithm of -a. Their value heads lie by key head; in
// GGUF files of Qwen3.5 value head h has key head h mod key heads, in those of Qwen3-Next it is as in Hugging Face's,
// whose projections are one tensor by key head. Rope in several sections is plain rope while the model only reads text.
// Source: transformers 5.24, models/qwen3_5, qwen3_5_moe and qwen3_next.
#include <fmt/format.h>

#include <cmath>

#include "files/printable.h"
#include "models/architectures.h"
#include "models/decoder.h"
#include "models/read_config.h"
#include "models/read_mixture.h"
#include "models/tensor_names.h"

namespace invar {
namespace {

enum class QwenFamily : uint8_t { dense, mixture, next };

constexpr float kInnerEpsilon = 1e-6f;  // of the norms of queries and keys of a delta net; no key says it

// Whether each layer is a delta net, as config.json's layer_types say.
Result<std::vector<bool>> kinds_of_layers(const Hyperparameters& keys, size_t layers) {
    TRY_ASSIGN(const std::vector<std::string> kinds, keys.kinds_of_layers("layer kinds", layers));
    std::vector<bool> recurrent;
    for (const std::string& kind : kinds) {
        if (kind != "linear_attention" && kind != "full_attention") {
            return fail(ErrorKind::unsupported,
                        "{}: {} has the kind '{}' for layer {}, but only linear_attention and full_attention are "
                        "supported for this architecture",
                        keys.file(), keys.spell("layer kinds"), printable(kind), recurrent.size());
        }
        recurrent.push_back(kind == "linear_attention");
    }
    return recurrent;
}

// The same without a list: every so many-th layer attends. GGUF files from before that key tell it by their tensors.
Result<std::vector<bool>> layers_by_interval(const Hyperparameters& keys, size_t layers, ModelConfig& config) {
    std::vector<bool> recurrent;
    int64_t interval = 4;
    if (keys.has("attention interval")) {
        TRY_ASSIGN(interval, keys.integer("attention interval", 1, kMaximumLayers));
    } else if (keys.checkpoint().dialect() == Dialect::gguf) {
        for (size_t i = 0; i < layers; ++i) {
            const std::string tensor = gguf_name(static_cast<int>(i), "ssm_a");
            recurrent.push_back(keys.checkpoint().find(tensor) != nullptr);
        }
        config.notes.push_back(fmt::format("{} and {} are absent; layers with a tensor 'ssm_a' are gated delta nets",
                                           keys.spell("recurrent layers"), keys.spell("attention interval")));
        return recurrent;
    } else {
        config.notes.push_back(fmt::format("{} is absent; every fourth layer attends, as the model's code has it then",
                                           keys.spell("attention interval")));
    }
    for (size_t i = 0; i < layers; ++i) recurrent.push_back(static_cast<int64_t>(i + 1) % interval != 0);
    return recurrent;
}

Result<std::vector<bool>> read_recurrent_layers(const Hyperparameters& keys, size_t layers, ModelConfig& config) {
    if (keys.has("layer kinds")) return kinds_of_layers(keys, layers);
    if (!keys.has("recurrent layers")) return layers_by_interval(keys, layers, config);
    TRY_ASSIGN(std::vector<bool> recurrent, keys.booleans("recurrent layers"));
    if (recurrent.size() < layers) {
        return fail("{}: {} has {} values, but the model has {} layers", keys.file(), keys.spell("recurrent layers"),
                    recurrent.size(), layers);
    }
    recurrent.resize(layers);
    return recurrent;
}

Result<DeltaGeometry> read_delta(const Hyperparameters& keys, QwenFamily family) {
    DeltaGeometry delta{.inner_epsilon = kInnerEpsilon};
    RecurrenceHeads& heads = delta.heads;
    TRY_ASSIGN(const int64_t key_heads, keys.integer("delta key heads", 1, kMaximumHeads));
    TRY_ASSIGN(const int64_t value_heads, keys.integer("delta value heads", 1, kMaximumHeads));
    TRY_ASSIGN(const int64_t key_width, keys.integer("delta key width", 1, kMaximumHeadWidth));
    TRY_ASSIGN(const int64_t taps, keys.integer("delta taps", 1, kMostTaps));
    int64_t value_width = 0;
    if (keys.checkpoint().dialect() == Dialect::gguf) {
        TRY_ASSIGN(const int64_t values, keys.integer("delta values", 1, kMaximumHeads * kMaximumHeadWidth));
        if (values % value_heads != 0 || values / value_heads > kMaximumHeadWidth) {
            return fail("{}: {} is {}, but must be a multiple of the {} value heads, by at most {}", keys.file(),
                        keys.spell("delta values"), values, value_heads, kMaximumHeadWidth);
        }
        value_width = values / value_heads;
    } else {
        TRY_ASSIGN(value_width, keys.integer("delta value width", 1, kMaximumHeadWidth));
    }
    if (value_heads % key_heads != 0) {
        return fail("{}: {} is {}, but must be a multiple of the {} key heads", keys.file(),
                    keys.spell("delta value heads"), value_heads, key_heads);
    }
    heads = {.key_heads = static_cast<int>(key_heads),
             .value_heads = static_cast<int>(value_heads),
             .key_width = static_cast<int>(key_width),
             .value_width = static_cast<int>(value_width),
             .interleaved = family != QwenFamily::next};
    delta.taps = static_cast<int>(taps);
    delta.scale = 1.0f / std::sqrt(static_cast<float>(key_width));
    return delta;
}

Result<AttentionGeometry> read_attention(const Hyperparameters& keys, size_t layers, ModelConfig& config) {
    TRY_ASSIGN(const Heads heads, read_heads(keys, layers, config));
    TRY_ASSIGN(const int64_t key_width, keys.integer("key width", 1, kMaximumHeadWidth));
    TRY_ASSIGN(const int64_t value_width, keys.integer("value width", 1, kMaximumHeadWidth));
    TRY_ASSIGN(const bool gated, keys.boolean_or("output gates", true));
    for (size_t i = 0; i < layers; ++i) {
        if (heads.query[i] == heads.query[0] && heads.kv[i] == heads.kv[0]) continue;
        return fail(ErrorKind::unsupported,
                    "{}: layers 0 and {} have different numbers of heads, which is not supported "
                    "for this architecture",
                    keys.file(), i);
    }
    if (!gated || key_width != value_width) {
        return fail(ErrorKind::unsupported, "{}: {}, which is not supported for this architecture", keys.file(),
                    gated ? fmt::format("keys have {} and values {} elements", key_width, value_width)
                          : fmt::format("{} is false", keys.spell("output gates")));
    }
    return AttentionGeometry{.heads = static_cast<int>(heads.query[0]),
                             .kv_heads = static_cast<int>(heads.kv[0]),
                             .key_width = static_cast<int>(key_width),
                             .value_width = static_cast<int>(value_width),
                             .rope = 0,
                             .scale = 1.0f / std::sqrt(static_cast<float>(key_width)),
                             .gated = true};
}

Result<void> read_layers(const Hyperparameters& keys, QwenFamily family, ModelConfig& config) {
    TRY_ASSIGN(const size_t layers, read_layer_count(keys, config));
    TRY_ASSIGN(const std::vector<bool> recurrent, read_recurrent_layers(keys, layers, config));
    TRY_ASSIGN(const AttentionGeometry attention, read_attention(keys, layers, config));
    TRY_ASSIGN(const DeltaGeometry delta, read_delta(keys, family));
    TRY_ASSIGN(const std::optional<MixtureGeometry> mixture,
               read_mixture(keys, {.renormalised = true, .shared = true}));
    if (mixture.has_value() == (family == QwenFamily::dense)) {
        return fail("{}: {} is {}, but architecture {} {} mixture of experts; the file names the wrong architecture",
                    keys.file(), keys.spell("experts"), mixture ? mixture->experts : 0, config.architecture,
                    mixture ? "has no" : "needs a");
    }
    std::vector<bool> dense(layers, family == QwenFamily::dense);
    if (mixture) {
        TRY_ASSIGN(dense, read_dense_layers(keys, layers));
    }
    for (size_t i = 0; i < layers; ++i) {
        LayerSpec layer{.norm_epsilon = config.norm_epsilon};
        if (recurrent[i]) {
            layer.mixer = delta;
        } else {
            layer.mixer = attention;
        }
        if (dense[i]) {
            TRY_ASSIGN(const int64_t width, keys.integer("ffn width", 1, kMaximumWidth));
            layer.ffn = DenseGeometry{.width = width};
        } else {
            layer.ffn = *mixture;
        }
        config.layers.push_back(layer);
    }
    if (keys.checkpoint().dialect() == Dialect::gguf)
        TRY(keys.integer("rope width", 2, attention.key_width));  // a part of a head turns, never all
    TRY_ASSIGN(const RopeSpec rope, read_rope(keys, attention.key_width, config));
    config.ropes.push_back(rope);
    return {};
}

Result<ModelConfig> read_family(const Checkpoint& checkpoint, std::string_view architecture, QwenFamily family) {
    const Hyperparameters keys(checkpoint);
    TRY_ASSIGN(ModelConfig config,
               read_model_config(keys, {.architecture = architecture, .computes = {"partial_rotary_factor"}}));
    TRY(read_layers(keys, family, config));
    return config;
}

Result<ModelConfig> read_dense(const Checkpoint& checkpoint) {
    return read_family(checkpoint, "qwen35", QwenFamily::dense);
}
Result<ModelConfig> read_moe(const Checkpoint& checkpoint) {
    return read_family(checkpoint, "qwen35moe", QwenFamily::mixture);
}
Result<ModelConfig> read_next(const Checkpoint& checkpoint) {
    return read_family(checkpoint, "qwen3next", QwenFamily::next);
}

DecoderTraits traits_of(QwenFamily family) {
    StreamNormNames norms;
    norms.ffn = {{"ffn_norm", "post_attention_norm.weight", "post_attention_layernorm.weight"}, {}};
    return {.head_norms = true, .norms_less_one = true, .delta_fused = family == QwenFamily::next, .norms = norms};
}

std::vector<WantedWeight> declare(const ModelConfig& config, const Checkpoint& checkpoint) {
    return declare_decoder(config, checkpoint, traits_of(QwenFamily::dense));
}
std::vector<WantedWeight> declare_next(const ModelConfig& config, const Checkpoint& checkpoint) {
    return declare_decoder(config, checkpoint, traits_of(QwenFamily::next));
}

}  // namespace

const Architecture kQwen35Architecture{.name = "qwen35",
                                       .summary = "Qwen3.5, dense: gated delta nets and gated attention",
                                       .model_types = {"qwen3_5", "qwen3_5_text"},
                                       .read_config = read_dense,
                                       .declare = declare,
                                       .build = build_decoder};
const Architecture kQwen35MoeArchitecture{.name = "qwen35moe",
                                          .summary = "Qwen3.5, mixture of experts",
                                          .model_types = {"qwen3_5_moe", "qwen3_5_moe_text"},
                                          .read_config = read_moe,
                                          .declare = declare,
                                          .build = build_decoder};
const Architecture kQwen3NextArchitecture{.name = "qwen3next",
                                          .summary = "Qwen3-Next, mixture of experts",
                                          .model_types = {"qwen3_next"},
                                          .read_config = read_next,
                                          .declare = declare_next,
                                          .build = build_decoder};

}  // namespace invar
