// Reads a config part by part (heads, rope, windows, mixture, layers) and refuses settings that are not computed: see
// read_config.h.
#include "models/read_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <optional>
#include <utility>

#include "files/printable.h"
#include "files/stored_weight.h"
#include "models/config_json.h"
#include "models/hyperparameters.h"
#include "models/long_rope.h"
#include "models/mistral_params.h"
#include "models/tensor_names.h"

namespace invar {
bool is_gguf(const Hyperparameters& keys) { return keys.checkpoint().dialect() == Dialect::gguf; }

Result<int64_t> read_head_width(const Hyperparameters& keys, std::string_view word, std::string_view gguf,
                                std::string_view hugging_face, int64_t kv_heads, std::vector<std::string>& notes,
                                int64_t query_heads, int layer) {
    if (keys.has(word)) return keys.integer(word, 1, kMaximumHeadWidth);
    const Checkpoint& checkpoint = keys.checkpoint();
    int64_t count = kv_heads;
    std::string tensor = TensorNames(checkpoint).name(layer, gguf, hugging_face), heads_of = "KV heads";
    const TensorInfo* projection = checkpoint.find(tensor);
    if (projection == nullptr) projection = checkpoint.find(tensor + "_packed");
    const std::string fused = TensorNames(checkpoint).name(layer, "attn_qkv.weight", "self_attn.qkv_proj.weight");
    if (projection == nullptr && query_heads > 0 && checkpoint.find(fused) != nullptr) {
        projection = checkpoint.find(fused);
        tensor = fused;
        count = query_heads + 2 * kv_heads;
        heads_of = "heads of queries, keys and values";
    }
    if (projection == nullptr || projection->shape.size() != 2 || count == 0 || projection->shape[0] % count != 0 ||
        projection->shape[0] / count > kMaximumHeadWidth || projection->shape[0] == 0) {
        return fail("{}: {} is missing and tensor '{}' does not tell it (its rows must be a multiple of {} {})",
                    keys.file(), keys.spell(word), tensor, count, heads_of);
    }
    const int64_t width = projection->shape[0] / count;
    notes.push_back(fmt::format("{} is absent; {} taken from the {} rows of {} over {} {}", keys.spell(word), width,
                                projection->shape[0], tensor, count, heads_of));
    return width;
}

namespace {

Result<void> read_yarn(const Hyperparameters& keys, RopeSpec& rope, const ModelConfig& config, bool scale_is_read) {
    rope.scaling = RopeSpec::Scaling::yarn;
    TRY_ASSIGN(rope.factor, keys.positive("rope factor"));
    if (keys.checkpoint().dialect() != Dialect::hugging_face || keys.has("rope original context")) {
        TRY_ASSIGN(const int64_t original, keys.integer("rope original context", 1, int64_t{1} << 40));
        rope.original_context = static_cast<double>(original);
    } else {
        rope.original_context = static_cast<double>(config.context_length);  // as transformers has it
    }
    TRY_ASSIGN(rope.beta_fast, keys.positive_or("yarn beta fast", 32.0));
    TRY_ASSIGN(rope.beta_slow, keys.positive_or("yarn beta slow", 1.0));
    TRY_ASSIGN(rope.ext_factor, keys.positive_or("yarn extrapolation", 1.0));
    TRY_ASSIGN(rope.attn_factor,
               keys.positive_or(keys.has("yarn attention") ? "yarn attention" : "rope attention", 1.0));
    if (keys.has("yarn multiplier")) {
        TRY_ASSIGN(const double multiplier, keys.positive("yarn multiplier"));
        rope.attn_factor = multiplier / yarn_attention(rope.factor, 1.0);
    }
    TRY_ASSIGN(const bool scales, keys.boolean_or("yarn scales attention", true));
    if (!scales) rope.attn_factor = 1.0 / yarn_attention(rope.factor, 1.0);
    TRY_ASSIGN(rope.whole_boundaries, keys.boolean_or("yarn whole boundaries", true));
    if (scale_is_read || !keys.has("yarn scale")) return {};
    return fail(ErrorKind::unsupported, "{}: {} changes YaRN in a way that is not supported for this architecture",
                keys.file(), keys.spell("yarn scale"));
}

// The same scaling from numbers of config.json.
Result<void> read_llama3(const Hyperparameters& keys, RopeSpec& rope) {
    Llama3Scaling scaling;
    TRY_ASSIGN(scaling.factor, keys.positive("rope factor"));
    TRY_ASSIGN(scaling.low_frequency_factor, keys.positive("low frequency factor"));
    TRY_ASSIGN(scaling.high_frequency_factor, keys.positive("high frequency factor"));
    TRY_ASSIGN(scaling.original_context, keys.positive("rope original context"));
    if (scaling.factor < 1 || scaling.low_frequency_factor > scaling.high_frequency_factor) {
        return fail("{}: rope scaling 'llama3' with factor {} and frequency factors {} and {} makes no sense",
                    keys.file(), scaling.factor, scaling.low_frequency_factor, scaling.high_frequency_factor);
    }
    rope.frequency_factors = llama3_frequency_factors(rope, scaling);
    return {};
}

constexpr std::string_view kFactorsTensor = "rope_freqs.weight";

}  // namespace

Result<std::vector<float>> read_rope_factors(const Hyperparameters& keys, std::string_view name, int64_t pairs,
                                             ModelConfig& config) {
    const TensorInfo* tensor = keys.checkpoint().find(name);
    if (tensor == nullptr) return fail("{}: tensor '{}' is missing; the file is incomplete", keys.file(), name);
    const std::vector<int64_t> shape = {pairs};
    if (tensor->shape != shape) {
        return fail("{}: tensor '{}' has shape [{}], but the metadata asks for [{}]; the file contradicts itself",
                    keys.file(), name, fmt::join(tensor->shape, ", "), pairs);
    }
    if (tensor->format == nullptr || !tensor->format->is_float) {
        return fail("{}: tensor '{}' is stored as {}, but frequency factors must be f32, f16 or bf16", keys.file(),
                    name, tensor->format == nullptr ? std::string_view("raw bytes") : tensor->format->name);
    }
    std::vector<float> factors(static_cast<size_t>(pairs));
    const StoredWeight stored{
        .name = tensor->name, .format = tensor->format, .shape = shape, .matrices = {{.weights = tensor}}};
    TRY(RowReader(RowReader::Access::read).vector(stored, factors.data()));
    config.tensors_read.emplace_back(name);
    return factors;
}

Result<void> check_router_law(const Hyperparameters& keys, std::initializer_list<int64_t> laws) {
    if (!is_gguf(keys) || !keys.has("router")) return {};
    TRY_ASSIGN(const int64_t law, keys.integer("router", INT32_MIN, INT32_MAX));
    if (std::find(laws.begin(), laws.end(), law) != laws.end()) return {};
    return fail(ErrorKind::unsupported, "{}: {} is {}, but the router of this architecture computes law {} only",
                keys.file(), keys.spell("router"), law, fmt::join(laws, " or "));
}

Result<std::vector<float>> read_frequency_factors(const Hyperparameters& keys, const RopeSpec& rope,
                                                  ModelConfig& config) {
    if (keys.checkpoint().find(kFactorsTensor) == nullptr) return std::vector<float>();
    return read_rope_factors(keys, kFactorsTensor, rope.pairs(), config);
}

namespace {

// How many elements of a head are rotated.
Result<int64_t> rotary_width(const Hyperparameters& keys, int64_t key_width, ModelConfig& config) {
    int64_t rotary = key_width;
    const std::string_view word = keys.has("rope width")   ? "rope width"
                                  : keys.has("rope share") ? "rope share"
                                                           : "key width";
    if (keys.has("rope width")) {
        TRY_ASSIGN(rotary, keys.integer("rope width", 2, key_width));
    } else if (keys.has("rope share")) {
        TRY_ASSIGN(const double share, keys.positive("rope share"));
        if (share > 1)
            return fail("{}: {} is {}, but at most the whole head can turn", keys.file(), keys.spell("rope share"),
                        share);
        rotary = static_cast<int64_t>(static_cast<double>(key_width) * share);
    } else if (is_gguf(keys)) {
        config.notes.push_back(
            fmt::format("{} is absent; the whole head of {} rotates", keys.spell("rope width"), key_width));
    }
    if (rotary % 2 == 0 && rotary > 0) return rotary;
    return fail("{}: by {}{} {} elements of a head turn, but rope turns pairs and needs an even number", keys.file(),
                keys.spell(word), keys.has(word) ? "" : " (absent; taken from the key projection)", rotary);
}

}  // namespace

Result<RopeSpec> read_rope(const Hyperparameters& keys, int64_t key_width, ModelConfig& config,
                           const RopeOptions& options) {
    RopeSpec rope{.pairing = options.pairing, .head_width = static_cast<int>(key_width)};
    TRY_ASSIGN(const int64_t rotary, rotary_width(keys, key_width, config));
    rope.rotary_width = static_cast<int>(rotary);
    if (options.gguf_base > 0 && is_gguf(keys) && !keys.has("rope base")) {
        rope.base = options.gguf_base;
        config.notes.push_back(
            fmt::format("{} is absent; {} is what such files mean", keys.spell("rope base"), options.gguf_base));
    } else {
        TRY_ASSIGN(rope.base, keys.positive("rope base"));
    }
    if (const auto valid = validate(rope); !valid) return fail("{}: {}", keys.file(), valid.error().message);
    std::string scaling = "none";
    if (keys.has("rope scaling")) {
        TRY_ASSIGN(scaling, keys.text("rope scaling"));
    } else if (keys.has("old rope factor")) {
        scaling = "linear";
    } else if (keys.has("yarn block")) {
        scaling = "yarn";
    } else if (is_gguf(keys) && keys.has("rope factor")) {
        TRY_ASSIGN(const double factor, keys.number("rope factor"));
        if (factor != 0 && factor != 1) {
            return fail("{}: {} is {}, but {}, which says how rope is scaled, is missing; the file is incomplete",
                        keys.file(), keys.spell("rope factor"), factor, keys.spell("rope scaling"));
        }
    }
    if (has_long_rope(keys, scaling)) {
        TRY(read_long_rope(keys, rope, config));
    } else if (scaling == "linear") {
        rope.scaling = RopeSpec::Scaling::linear;
        TRY_ASSIGN(rope.factor, keys.positive(keys.has("rope factor") ? "rope factor" : "old rope factor"));
    } else if (scaling == "yarn") {
        TRY(read_yarn(keys, rope, config, options.scale_is_read));
    } else if (scaling == "llama3" && !is_gguf(keys)) {
        TRY(read_llama3(keys, rope));
    } else if (scaling == "dynamic" && options.alpha_raises_base && keys.has("dynamic rope alpha")) {
        TRY_ASSIGN(const double alpha, keys.positive("dynamic rope alpha"));
        const double width = static_cast<double>(key_width);
        rope.base = static_cast<double>(static_cast<float>(rope.base * std::pow(alpha, width / (width - 2))));
    } else if (scaling != "none" && (scaling != "default" || is_gguf(keys))) {
        return fail(ErrorKind::unsupported,
                    "{}: {} is '{}', which is not supported (supported: none, linear, yarn, longrope, and Llama 3's)",
                    keys.file(), keys.spell("rope scaling"), printable(scaling));
    }
    if (const auto valid = validate(rope); !valid) return fail("{}: {}", keys.file(), valid.error().message);
    if (!is_gguf(keys)) return rope;
    TRY_ASSIGN(std::vector<float> factors, read_frequency_factors(keys, rope, config));
    if (!factors.empty()) rope.frequency_factors = std::move(factors);
    if (const auto valid = validate(rope); !valid)
        return fail("{}: tensor '{}': {}", keys.file(), kFactorsTensor, valid.error().message);
    return rope;
}

namespace {

// The window of each layer; 0 means none.
Result<std::vector<int64_t>> read_windows(const Hyperparameters& keys, size_t layers, std::string_view model_type,
                                          ModelConfig& config) {
    std::vector<int64_t> windows(layers, 0);
    // Llama's code knows no windows, and Qwen's uses them only if it is told to.
    const bool qwen = model_type.starts_with("qwen");
    TRY_ASSIGN(const bool used, keys.boolean_or("windows used", is_gguf(keys) || !qwen));
    const bool possible = keys.has("window") && used && (is_gguf(keys) || model_type != "llama");
    if (!is_gguf(keys) && model_type == "llama" && keys.has("window"))
        config.notes.push_back(
            fmt::format("{} is not used: the code of model type llama has no windows", keys.spell("window")));
    TRY_ASSIGN(const std::vector<bool> sliding, read_sliding_layers(keys, layers));
    const bool slides = std::find(sliding.begin(), sliding.end(), true) != sliding.end();
    if (slides && !possible) {
        return fail("{}: {} names 'sliding_attention', but {}; the file contradicts itself", keys.file(),
                    keys.spell("layer kinds"),
                    model_type == "llama" ? "model type llama has no windows"
                    : used                ? "no window is given by 'sliding_window'"
                                          : "'use_sliding_window' is not true");
    }
    if (!possible || (!sliding.empty() && !slides)) return windows;
    TRY_ASSIGN(const int64_t window, keys.integer("window", slides ? 1 : 0, int64_t{1} << 30));
    if (slides) {
        for (size_t i = 0; i < layers; ++i) windows[i] = sliding[i] ? window : 0;
        return windows;
    }
    int64_t first = 0;
    if (keys.has("first window layer")) {
        TRY_ASSIGN(first, keys.integer("first window layer", 0, int64_t{1} << 30));
    }
    for (size_t i = 0; i < layers; ++i) windows[i] = static_cast<int64_t>(i) >= first ? window : 0;
    return windows;
}

}  // namespace

Result<Heads> read_heads(const Hyperparameters& keys, size_t layers, ModelConfig& config) {
    Heads heads;
    TRY_ASSIGN(heads.query, keys.for_each_layer("heads", layers, 1, kMaximumHeads));
    heads.kv = heads.query;
    if (keys.has("KV heads")) {
        TRY_ASSIGN(heads.kv, keys.for_each_layer("KV heads", layers, 1, kMaximumHeads));
    } else {
        config.notes.push_back(fmt::format("{} is absent; every query head has its own key", keys.spell("KV heads")));
    }
    for (size_t i = 0; i < layers; ++i) {
        if (heads.query[i] % heads.kv[i] == 0) continue;
        return fail("{}: layer {} has {} query heads and {} KV heads, but the first must be a multiple of the second",
                    keys.file(), i, heads.query[i], heads.kv[i]);
    }
    return heads;
}

namespace {

Result<void> read_layers(const Hyperparameters& keys, ModelConfig& config, const ConfigFamily& family) {
    TRY_ASSIGN(const std::string model_type, Hyperparameters::architecture(keys.checkpoint()));
    TRY_ASSIGN(const int64_t count, keys.integer("layers", 1, kMaximumLayers));
    const auto layers = static_cast<size_t>(count);
    TRY_ASSIGN(const std::optional<MixtureGeometry> mixture, read_mixture(keys, family.mixture));
    TRY_ASSIGN(const std::vector<bool> dense, read_dense_layers(keys, layers));
    TRY_ASSIGN(const Heads heads, read_heads(keys, layers, config));
    std::vector<int64_t> ffn(layers, 0);
    if (!mixture || std::find(dense.begin(), dense.end(), true) != dense.end()) {
        TRY_ASSIGN(ffn, keys.for_each_layer("ffn width", layers, 1, kMaximumWidth));
    }
    TRY_ASSIGN(const int64_t key_width, read_head_width(keys, "key width", "attn_k.weight", "self_attn.k_proj.weight",
                                                        heads.kv[0], config.notes, heads.query[0]));
    TRY_ASSIGN(const int64_t value_width,
               read_head_width(keys, "value width", "attn_v.weight", "self_attn.v_proj.weight", heads.kv[0],
                               config.notes, heads.query[0]));
    TRY_ASSIGN(const std::vector<int64_t> windows, read_windows(keys, layers, model_type, config));
    for (size_t i = 0; i < layers; ++i) {
        LayerSpec layer{.norm_epsilon = config.norm_epsilon};
        layer.mixer = AttentionGeometry{.heads = static_cast<int>(heads.query[i]),
                                        .kv_heads = static_cast<int>(heads.kv[i]),
                                        .key_width = static_cast<int>(key_width),
                                        .value_width = static_cast<int>(value_width),
                                        .window = static_cast<int>(windows[i]),
                                        .rope = 0,
                                        .scale = 1.0f / std::sqrt(static_cast<float>(key_width))};
        if (mixture && !dense[i]) {
            layer.ffn = *mixture;
        } else {
            layer.ffn = DenseGeometry{.width = ffn[i]};
        }
        config.layers.push_back(layer);
    }
    TRY_ASSIGN(const RopeSpec rope, read_rope(keys, key_width, config, family.rope));
    config.ropes.push_back(rope);
    return {};
}

// The rows of the embedding, which the config may state too.
Result<int64_t> read_vocabulary(const Hyperparameters& keys) {
    const Checkpoint& checkpoint = keys.checkpoint();
    const std::string tensor = TensorNames(checkpoint).name(-1, "token_embd.weight", "embed_tokens.weight");
    const TensorInfo* embedding = checkpoint.find(tensor);
    if (embedding == nullptr) return fail("{}: tensor '{}' is missing; the file is incomplete", keys.file(), tensor);
    const int64_t rows = embedding->shape[0];
    if (rows < 1) return fail("{}: tensor '{}' has no rows", keys.file(), tensor);
    if (keys.has("vocabulary")) {
        TRY_ASSIGN(const int64_t stated, keys.integer("vocabulary", 1, int64_t{1} << 31));
        if (stated != rows) {
            return fail("{}: {} is {}, but tensor '{}' has {} rows", keys.file(), keys.spell("vocabulary"), stated,
                        tensor, rows);
        }
    }
    return rows;
}

// general.name, or the last part of a directory's name.
Result<std::string> read_name(const Checkpoint& checkpoint) {
    if (checkpoint.metadata().has("general.name")) {
        TRY_ASSIGN(const std::string_view name, checkpoint.metadata().string("general.name"));
        return std::string(name);
    }
    if (checkpoint.dialect() == Dialect::gguf) return checkpoint.name();
    const std::filesystem::path path(checkpoint.name());
    return path.has_filename() ? path.filename().string() : path.parent_path().filename().string();
}

Result<void> check_what_is_not_computed(const Hyperparameters& keys, const ConfigFamily& family) {
    if (keys.checkpoint().dialect() == Dialect::mistral) TRY(check_mistral_params(keys.checkpoint()));
    if (keys.checkpoint().dialect() == Dialect::hugging_face)
        TRY(check_config_json(keys.checkpoint(), family.architecture, family.computes));
    TRY(keys.check_spellings());
    TRY(keys.boolean_or("tied head", false));
    TRY(keys.boolean_at_top("tied head", false));
    if (keys.has("activation")) {
        TRY_ASSIGN(const std::string activation, keys.text("activation"));
        if (!family.activation.empty() && activation != family.activation) {
            return fail(ErrorKind::unsupported, "{}: {} is '{}', but only {} is supported for this architecture",
                        keys.file(), keys.spell("activation"), printable(activation), family.activation);
        }
    }
    if (is_gguf(keys) && !family.activation.empty() && keys.has("activation in GGUF")) {
        TRY_ASSIGN(const std::string activation, keys.text("activation in GGUF"));
        if (activation != family.activation) {
            return fail(ErrorKind::unsupported, "{}: {} is '{}', but only {} is supported for this architecture",
                        keys.file(), keys.spell("activation in GGUF"), printable(activation), family.activation);
        }
    }
    if (family.query_temperature || !keys.has("query temperature")) return {};
    return fail(ErrorKind::unsupported,
                "{}: {} scales queries by their position, which is not supported for this architecture", keys.file(),
                keys.spell("query temperature"));
}

}  // namespace

Result<ModelConfig> read_model_config(const Hyperparameters& keys, const ConfigFamily& family) {
    TRY(check_what_is_not_computed(keys, family));
    ModelConfig config;
    config.architecture = family.architecture;
    TRY_ASSIGN(config.name, read_name(keys.checkpoint()));
    TRY_ASSIGN(config.width, keys.integer("width", 1, kMaximumWidth));
    TRY_ASSIGN(config.context_length, keys.integer("context", 1, int64_t{1} << 30));
    config.layer_norms = family.layer_norms;
    TRY_ASSIGN(const double epsilon, keys.positive(family.epsilon));
    config.norm_epsilon = static_cast<float>(epsilon);
    config.notes = keys.defaults_taken();
    TRY_ASSIGN(config.vocabulary, read_vocabulary(keys));
    return config;
}

Result<ModelConfig> read_decoder_config(const Checkpoint& checkpoint, const ConfigFamily& family) {
    const Hyperparameters keys(checkpoint);
    TRY_ASSIGN(ModelConfig config, read_model_config(keys, family));
    TRY(family.read_layers == nullptr ? read_layers(keys, config, family) : family.read_layers(keys, config));
    return config;
}

Result<ModelConfig> read_dense_config(const Checkpoint& checkpoint, const ConfigFamily& family) {
    TRY_ASSIGN(ModelConfig config, read_decoder_config(checkpoint, family));
    if (config.most_experts() == 0) return config;
    return fail("{}: architecture {} is dense, but {} is {}; the file names the wrong architecture", checkpoint.name(),
                family.architecture, Hyperparameters(checkpoint).spell("experts"), config.most_experts());
}

}  // namespace invar
