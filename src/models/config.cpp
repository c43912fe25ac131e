// Reads hyper-parameters from GGUF metadata. A key that gives meaning to the weights is read or the file is refused;
// the one inference made (the width of a head, in files written before that key existed) is taken from a tensor's
// shape, cross-checked, and noted.
#include "models/config.h"

#include <cmath>

#include "files/printable.h"

namespace invar {
namespace {

// Keys of one architecture: "<architecture>.<key>".
class Keys {
  public:
    Keys(const GgufFile& file, std::string_view architecture) : file_(file), architecture_(architecture) {}

    std::string full(std::string_view key) const { return fmt::format("{}.{}", architecture_, key); }
    bool has(std::string_view key) const { return file_.metadata().find(full(key)) != nullptr; }
    const GgufFile& file() const { return file_; }

    // An integer in [low, high]; refused outside.
    Result<int64_t> integer(std::string_view key, int64_t low, int64_t high) const {
        TRY_ASSIGN(const int64_t value, file_.metadata().signed_integer(full(key)));
        if (value < low || value > high) {
            return fail("{}: metadata key '{}' is {}, but must be between {} and {}", file_.name(), full(key), value,
                        low, high);
        }
        return value;
    }
    // A scalar for all layers, or an array with one number a layer.
    Result<std::vector<int64_t>> for_each_layer(std::string_view key, size_t layers, int64_t low, int64_t high) const {
        const MetadataValue* value = file_.metadata().find(full(key));
        if (value == nullptr || !value->is_array()) {
            TRY_ASSIGN(const int64_t one, integer(key, low, high));
            return std::vector<int64_t>(layers, one);
        }
        TRY_ASSIGN(std::vector<int64_t> all, file_.metadata().integers(full(key)));
        if (all.size() != layers) {
            return fail("{}: metadata key '{}' has {} numbers, but the model has {} layers", file_.name(), full(key),
                        all.size(), layers);
        }
        for (const int64_t one : all) {
            if (one < low || one > high) {
                return fail("{}: metadata key '{}' contains {}, but must be between {} and {}", file_.name(), full(key),
                            one, low, high);
            }
        }
        return all;
    }
    Result<double> positive(std::string_view key) const {
        TRY_ASSIGN(const double value, file_.metadata().number(full(key)));
        if (!(value > 0) || !std::isfinite(value)) {
            return fail("{}: metadata key '{}' is {}, but must be a positive number", file_.name(), full(key), value);
        }
        return value;
    }
    Result<double> positive_or(std::string_view key, double otherwise) const {
        if (!has(key)) return otherwise;
        return positive(key);
    }

  private:
    const GgufFile& file_;
    std::string_view architecture_;
};

constexpr int64_t kMaximumLayers = 4096;
constexpr int64_t kMaximumHeads = 65536;
constexpr int64_t kMaximumHeadWidth = 1024;
constexpr int64_t kMaximumWidth = 1 << 20;
constexpr int64_t kMaximumExperts = 65536;

// The width of a head: the key, or the rows of the key projection over the KV heads, which must divide exactly.
Result<int64_t> head_width(const Keys& keys, std::string_view key, std::string_view tensor, int64_t kv_heads,
                           std::vector<std::string>& notes) {
    if (keys.has(key)) return keys.integer(key, 1, kMaximumHeadWidth);
    const TensorInfo* projection = keys.file().find(tensor);
    if (projection == nullptr || projection->shape.size() != 2 || kv_heads == 0 ||
        projection->shape[0] % kv_heads != 0 || projection->shape[0] / kv_heads > kMaximumHeadWidth) {
        return fail(
            "{}: metadata key '{}' is missing and tensor '{}' does not tell it (its rows must be a multiple of {} KV "
            "heads)",
            keys.file().name(), keys.full(key), tensor, kv_heads);
    }
    const int64_t width = projection->shape[0] / kv_heads;
    notes.push_back(fmt::format("{} is absent; {} taken from the {} rows of {} over {} KV heads", keys.full(key), width,
                                projection->shape[0], tensor, kv_heads));
    return width;
}

Result<RopeSpec> read_rope(const Keys& keys, RopePairing pairing, int64_t key_width, ModelConfig& config) {
    RopeSpec rope;
    rope.pairing = pairing;
    rope.head_width = static_cast<int>(key_width);
    int64_t rotary = key_width;
    if (keys.has("rope.dimension_count")) {
        TRY_ASSIGN(rotary, keys.integer("rope.dimension_count", 2, key_width));
    } else {
        config.notes.push_back(
            fmt::format("{} is absent; the whole head of {} rotates", keys.full("rope.dimension_count"), key_width));
    }
    if (rotary % 2 != 0) {
        return fail("{}: metadata key '{}' is {}, but rope turns pairs and needs an even number", keys.file().name(),
                    keys.full("rope.dimension_count"), rotary);
    }
    rope.rotary_width = static_cast<int>(rotary);
    TRY_ASSIGN(rope.base, keys.positive("rope.freq_base"));

    std::string_view scaling = "none";
    if (keys.has("rope.scaling.type")) {
        TRY_ASSIGN(scaling, keys.file().metadata().string(keys.full("rope.scaling.type")));
    } else if (keys.has("rope.scale_linear")) {
        scaling = "linear";  // the key of files from before rope.scaling.*
    }
    if (scaling == "none") {
        rope.scaling = RopeSpec::Scaling::none;
    } else if (scaling == "linear") {
        rope.scaling = RopeSpec::Scaling::linear;
        TRY_ASSIGN(rope.factor,
                   keys.positive(keys.has("rope.scaling.factor") ? "rope.scaling.factor" : "rope.scale_linear"));
    } else if (scaling == "yarn") {
        rope.scaling = RopeSpec::Scaling::yarn;
        TRY_ASSIGN(rope.factor, keys.positive("rope.scaling.factor"));
        TRY_ASSIGN(const int64_t original, keys.integer("rope.scaling.original_context_length", 1, int64_t{1} << 40));
        rope.original_context = static_cast<double>(original);
        TRY_ASSIGN(rope.beta_fast, keys.positive_or("rope.scaling.yarn_beta_fast", 32.0));
        TRY_ASSIGN(rope.beta_slow, keys.positive_or("rope.scaling.yarn_beta_slow", 1.0));
        TRY_ASSIGN(rope.ext_factor, keys.positive_or("rope.scaling.yarn_ext_factor", 1.0));
        const char* attention_key =
            keys.has("rope.scaling.yarn_attn_factor") ? "rope.scaling.yarn_attn_factor" : "rope.scaling.attn_factor";
        TRY_ASSIGN(rope.attn_factor, keys.positive_or(attention_key, 1.0));
    } else {
        return fail(
            ErrorKind::unsupported,
            "{}: rope scaling '{}' is not supported (supported: none, linear, yarn, and Llama 3's rope_freqs tensor)",
            keys.file().name(), printable(scaling));
    }
    if (const auto valid = validate(rope); !valid) return fail("{}: {}", keys.file().name(), valid.error().message);
    return rope;
}

Result<ExpertGeometry> read_experts(const Keys& keys) {
    ExpertGeometry experts;
    if (!keys.has("expert_count")) return experts;
    TRY_ASSIGN(const int64_t count, keys.integer("expert_count", 0, kMaximumExperts));
    if (count == 0) return experts;
    experts.count = static_cast<int>(count);
    TRY_ASSIGN(const int64_t used, keys.integer("expert_used_count", 1, count));
    experts.per_token = static_cast<int>(used);
    const char* width_key =
        keys.has("expert_feed_forward_length") ? "expert_feed_forward_length" : "feed_forward_length";
    TRY_ASSIGN(experts.width, keys.integer(width_key, 1, kMaximumWidth));
    for (const char* key : {"expert_shared_count", "expert_shared_feed_forward_length"}) {
        if (!keys.has(key)) continue;
        TRY_ASSIGN(const int64_t shared, keys.integer(key, 0, kMaximumWidth));
        if (shared > 0)
            return fail(ErrorKind::unsupported,
                        "{}: '{}' is {}, but shared experts are not supported for this architecture",
                        keys.file().name(), keys.full(key), shared);
    }
    return experts;
}

Result<std::vector<LayerGeometry>> read_layers(const Keys& keys, ModelConfig& config) {
    TRY_ASSIGN(const int64_t count, keys.integer("block_count", 1, kMaximumLayers));
    const auto layers = static_cast<size_t>(count);
    TRY_ASSIGN(const std::vector<int64_t> heads, keys.for_each_layer("attention.head_count", layers, 1, kMaximumHeads));
    std::vector<int64_t> kv_heads = heads;
    if (keys.has("attention.head_count_kv")) {
        TRY_ASSIGN(kv_heads, keys.for_each_layer("attention.head_count_kv", layers, 1, kMaximumHeads));
    } else {
        config.notes.push_back(
            fmt::format("{} is absent; every query head has its own key", keys.full("attention.head_count_kv")));
    }
    std::vector<int64_t> ffn(layers, 0);
    if (config.experts.count == 0) {
        TRY_ASSIGN(ffn, keys.for_each_layer("feed_forward_length", layers, 1, kMaximumWidth));
    }
    TRY_ASSIGN(const int64_t key_width,
               head_width(keys, "attention.key_length", "blk.0.attn_k.weight", kv_heads[0], config.notes));
    TRY_ASSIGN(const int64_t value_width,
               head_width(keys, "attention.value_length", "blk.0.attn_v.weight", kv_heads[0], config.notes));
    int64_t window = 0;
    if (keys.has("attention.sliding_window")) {
        TRY_ASSIGN(window, keys.integer("attention.sliding_window", 0, int64_t{1} << 30));
    }
    std::vector<LayerGeometry> geometry(layers);
    for (size_t i = 0; i < layers; ++i) {
        if (heads[i] % kv_heads[i] != 0) {
            return fail(
                "{}: layer {} has {} query heads and {} KV heads, but the first must be a multiple of the second",
                keys.file().name(), i, heads[i], kv_heads[i]);
        }
        geometry[i] = {.heads = static_cast<int>(heads[i]),
                       .kv_heads = static_cast<int>(kv_heads[i]),
                       .key_width = static_cast<int>(key_width),
                       .value_width = static_cast<int>(value_width),
                       .window = static_cast<int>(window),
                       .ffn_width = ffn[i]};
    }
    return geometry;
}

}  // namespace

std::vector<KvGeometry> ModelConfig::kv_geometry() const {
    std::vector<KvGeometry> geometry;
    for (const LayerGeometry& layer : layers) {
        geometry.push_back({.kv_heads = layer.kv_heads,
                            .key_width = layer.key_width,
                            .value_width = layer.value_width,
                            .window = layer.window});
    }
    return geometry;
}

Result<ModelConfig> read_decoder_config(const GgufFile& file, std::string_view architecture, RopePairing pairing) {
    const Keys keys(file, architecture);
    ModelConfig config;
    config.architecture = architecture;
    config.name = file.name();
    if (file.metadata().find("general.name") != nullptr) {
        TRY_ASSIGN(config.name, file.metadata().string("general.name"));
    }
    TRY_ASSIGN(config.width, keys.integer("embedding_length", 1, kMaximumWidth));
    TRY_ASSIGN(config.context_length, keys.integer("context_length", 1, int64_t{1} << 30));
    TRY_ASSIGN(const double epsilon, keys.positive("attention.layer_norm_rms_epsilon"));
    config.norm_epsilon = static_cast<float>(epsilon);
    TRY_ASSIGN(config.experts, read_experts(keys));
    TRY_ASSIGN(config.layers, read_layers(keys, config));
    TRY_ASSIGN(config.rope, read_rope(keys, pairing, config.layers[0].key_width, config));

    const TensorInfo* embedding = file.find("token_embd.weight");
    if (embedding == nullptr)
        return fail("{}: tensor 'token_embd.weight' is missing; the file is incomplete", file.name());
    config.vocabulary = embedding->shape[0];
    if (keys.has("vocab_size")) {
        TRY_ASSIGN(const int64_t stated, keys.integer("vocab_size", 1, int64_t{1} << 31));
        if (stated != config.vocabulary) {
            return fail("{}: metadata key '{}' is {}, but tensor 'token_embd.weight' has {} rows", file.name(),
                        keys.full("vocab_size"), stated, config.vocabulary);
        }
    }
    return config;
}

}  // namespace invar
