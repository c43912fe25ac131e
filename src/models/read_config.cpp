#include "models/read_config.h"

#include <fmt/format.h>

#include <cmath>
#include <optional>

#include "files/printable.h"
#include "files/stored_weight.h"
#include "models/hyperparameters.h"

namespace invar {
namespace {

constexpr int64_t kMaximumLayers = 4096;
constexpr int64_t kMaximumHeads = 65536;
constexpr int64_t kMaximumHeadWidth = 1024;
constexpr int64_t kMaximumWidth = 1 << 20;
constexpr int64_t kMaximumExperts = 65536;

// The width of a head: the key, or the rows of the key projection over the KV heads, which must divide exactly.
Result<int64_t> head_width(const Hyperparameters& keys, std::string_view word, std::string_view tensor,
                           int64_t kv_heads, std::vector<std::string>& notes) {
    if (keys.has(word)) return keys.integer(word, 1, kMaximumHeadWidth);
    const TensorInfo* projection = keys.checkpoint().find(tensor);
    if (projection == nullptr || projection->shape.size() != 2 || kv_heads == 0 ||
        projection->shape[0] % kv_heads != 0 || projection->shape[0] / kv_heads > kMaximumHeadWidth) {
        return fail("{}: {} is missing and tensor '{}' does not tell it (its rows must be a multiple of {} KV heads)",
                    keys.file(), keys.spell(word), tensor, kv_heads);
    }
    const int64_t width = projection->shape[0] / kv_heads;
    notes.push_back(fmt::format("{} is absent; {} taken from the {} rows of {} over {} KV heads", keys.spell(word),
                                width, projection->shape[0], tensor, kv_heads));
    return width;
}

Result<void> read_yarn(const Hyperparameters& keys, RopeSpec& rope) {
    rope.scaling = RopeSpec::Scaling::yarn;
    TRY_ASSIGN(rope.factor, keys.positive("rope factor"));
    TRY_ASSIGN(const int64_t original, keys.integer("rope original context", 1, int64_t{1} << 40));
    rope.original_context = static_cast<double>(original);
    TRY_ASSIGN(rope.beta_fast, keys.positive_or("yarn beta fast", 32.0));
    TRY_ASSIGN(rope.beta_slow, keys.positive_or("yarn beta slow", 1.0));
    TRY_ASSIGN(rope.ext_factor, keys.positive_or("yarn extrapolation", 1.0));
    TRY_ASSIGN(rope.attn_factor,
               keys.positive_or(keys.has("yarn attention") ? "yarn attention" : "rope attention", 1.0));
    return {};
}

// Llama 3's scaled frequencies, which GGUF files have as a tensor of one factor a pair.
Result<void> read_frequency_factors(const Hyperparameters& keys, RopeSpec& rope, ModelConfig& config) {
    constexpr std::string_view kTensor = "rope_freqs.weight";
    const TensorInfo* tensor = keys.checkpoint().find(kTensor);
    if (tensor == nullptr) return {};
    const std::vector<int64_t> shape = {rope.pairs()};
    if (tensor->shape != shape) {
        return fail("{}: tensor '{}' has shape [{}], but the metadata asks for [{}]; the file contradicts itself",
                    keys.file(), kTensor, fmt::join(tensor->shape, ", "), rope.pairs());
    }
    if (tensor->format == nullptr || !tensor->format->is_float) {
        return fail("{}: tensor '{}' is stored as {}, but frequency factors must be f32, f16 or bf16", keys.file(),
                    kTensor, tensor->format->name);
    }
    rope.frequency_factors.resize(static_cast<size_t>(rope.pairs()));
    const StoredWeight factors{
        .name = tensor->name, .format = tensor->format, .shape = shape, .matrices = {{.weights = tensor}}};
    TRY(RowReader(RowReader::Access::read).vector(factors, rope.frequency_factors.data()));
    config.tensors_read.emplace_back(kTensor);
    if (const auto valid = validate(rope); !valid)
        return fail("{}: tensor '{}': {}", keys.file(), kTensor, valid.error().message);
    return {};
}

Result<RopeSpec> read_rope(const Hyperparameters& keys, int64_t key_width, ModelConfig& config) {
    RopeSpec rope;
    rope.pairing = RopePairing::halves;
    rope.head_width = static_cast<int>(key_width);
    int64_t rotary = key_width;
    if (keys.has("rope width")) {
        TRY_ASSIGN(rotary, keys.integer("rope width", 2, key_width));
    } else {
        config.notes.push_back(
            fmt::format("{} is absent; the whole head of {} rotates", keys.spell("rope width"), key_width));
    }
    if (rotary % 2 != 0) {
        return fail("{}: {} is {}, but rope turns pairs and needs an even number", keys.file(),
                    keys.spell("rope width"), rotary);
    }
    rope.rotary_width = static_cast<int>(rotary);
    TRY_ASSIGN(rope.base, keys.positive("rope base"));

    std::string scaling = "none";
    if (keys.has("rope scaling")) {
        TRY_ASSIGN(scaling, keys.text("rope scaling"));
    } else if (keys.has("old rope factor")) {
        scaling = "linear";
    }
    if (scaling == "linear") {
        rope.scaling = RopeSpec::Scaling::linear;
        TRY_ASSIGN(rope.factor, keys.positive(keys.has("rope factor") ? "rope factor" : "old rope factor"));
    } else if (scaling == "yarn") {
        TRY(read_yarn(keys, rope));
    } else if (scaling != "none") {
        return fail(
            ErrorKind::unsupported,
            "{}: rope scaling '{}' is not supported (supported: none, linear, yarn, and Llama 3's rope_freqs tensor)",
            keys.file(), printable(scaling));
    }
    if (const auto valid = validate(rope); !valid) return fail("{}: {}", keys.file(), valid.error().message);
    TRY(read_frequency_factors(keys, rope, config));
    return rope;
}

// One for the layers that have a mixture; nothing for a dense model.
Result<std::optional<MixtureGeometry>> read_mixture(const Hyperparameters& keys) {
    if (!keys.has("experts")) return std::optional<MixtureGeometry>();
    TRY_ASSIGN(const int64_t count, keys.integer("experts", 0, kMaximumExperts));
    if (count == 0) return std::optional<MixtureGeometry>();
    MixtureGeometry mixture{.experts = static_cast<int>(count)};
    TRY_ASSIGN(const int64_t used, keys.integer("experts per token", 1, count));
    mixture.per_token = static_cast<int>(used);
    TRY_ASSIGN(mixture.width, keys.integer(keys.has("expert width") ? "expert width" : "ffn width", 1, kMaximumWidth));
    for (const char* word : {"shared experts", "shared expert width"}) {
        if (!keys.has(word)) continue;
        TRY_ASSIGN(const int64_t shared, keys.integer(word, 0, kMaximumWidth));
        if (shared > 0)
            return fail(ErrorKind::unsupported,
                        "{}: {} is {}, but shared experts are not supported for this architecture", keys.file(),
                        keys.spell(word), shared);
    }
    return std::optional<MixtureGeometry>(mixture);
}

struct Heads {
    std::vector<int64_t> query, kv;
};

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

Result<void> read_layers(const Hyperparameters& keys, ModelConfig& config) {
    TRY_ASSIGN(const int64_t count, keys.integer("layers", 1, kMaximumLayers));
    const auto layers = static_cast<size_t>(count);
    TRY_ASSIGN(const std::optional<MixtureGeometry> mixture, read_mixture(keys));
    TRY_ASSIGN(const Heads heads, read_heads(keys, layers, config));
    std::vector<int64_t> ffn(layers, 0);
    if (!mixture) {
        TRY_ASSIGN(ffn, keys.for_each_layer("ffn width", layers, 1, kMaximumWidth));
    }
    TRY_ASSIGN(const int64_t key_width,
               head_width(keys, "key width", "blk.0.attn_k.weight", heads.kv[0], config.notes));
    TRY_ASSIGN(const int64_t value_width,
               head_width(keys, "value width", "blk.0.attn_v.weight", heads.kv[0], config.notes));
    int64_t window = 0;
    if (keys.has("window")) {
        TRY_ASSIGN(window, keys.integer("window", 0, int64_t{1} << 30));
    }
    for (size_t i = 0; i < layers; ++i) {
        LayerSpec layer{.norm_epsilon = config.norm_epsilon};
        layer.mixer = AttentionGeometry{.heads = static_cast<int>(heads.query[i]),
                                        .kv_heads = static_cast<int>(heads.kv[i]),
                                        .key_width = static_cast<int>(key_width),
                                        .value_width = static_cast<int>(value_width),
                                        .window = static_cast<int>(window),
                                        .rope = 0,
                                        .scale = 1.0f / std::sqrt(static_cast<float>(key_width))};
        if (mixture) {
            layer.ffn = *mixture;
        } else {
            layer.ffn = DenseGeometry{.width = ffn[i]};
        }
        config.layers.push_back(layer);
    }
    TRY_ASSIGN(const RopeSpec rope, read_rope(keys, key_width, config));
    config.ropes.push_back(rope);
    return {};
}

}  // namespace

Result<ModelConfig> read_decoder_config(const Checkpoint& checkpoint, std::string_view architecture) {
    const Hyperparameters keys(checkpoint, architecture);
    ModelConfig config;
    config.architecture = architecture;
    config.name = checkpoint.name();
    if (checkpoint.metadata().has("general.name")) {
        TRY_ASSIGN(config.name, checkpoint.metadata().string("general.name"));
    }
    TRY_ASSIGN(config.width, keys.integer("width", 1, kMaximumWidth));
    TRY_ASSIGN(config.context_length, keys.integer("context", 1, int64_t{1} << 30));
    TRY_ASSIGN(const double epsilon, keys.positive("norm epsilon"));
    config.norm_epsilon = static_cast<float>(epsilon);
    TRY(read_layers(keys, config));

    const TensorInfo* embedding = checkpoint.find("token_embd.weight");
    if (embedding == nullptr)
        return fail("{}: tensor 'token_embd.weight' is missing; the file is incomplete", checkpoint.name());
    config.vocabulary = embedding->shape[0];
    if (keys.has("vocabulary")) {
        TRY_ASSIGN(const int64_t stated, keys.integer("vocabulary", 1, int64_t{1} << 31));
        if (stated != config.vocabulary) {
            return fail("{}: {} is {}, but tensor 'token_embd.weight' has {} rows", checkpoint.name(),
                        keys.spell("vocabulary"), stated, config.vocabulary);
        }
    }
    return config;
}

Result<ModelConfig> read_dense_config(const Checkpoint& checkpoint, std::string_view architecture) {
    TRY_ASSIGN(ModelConfig config, read_decoder_config(checkpoint, architecture));
    if (config.most_experts() == 0) return config;
    return fail("{}: architecture {} is dense, but {} is {}; the file names the wrong architecture", checkpoint.name(),
                architecture, Hyperparameters(checkpoint, architecture).spell("experts"), config.most_experts());
}

}  // namespace invar
