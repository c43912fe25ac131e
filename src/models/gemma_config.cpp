// Reads the layers of Gemma 2 and 3: see gemma_config.h.
//
// The scores' scale is query_pre_attn_scalar^-0.5. GGUF has no key for it: it follows from the number of layers, as the
// programs that read such files have it. The largest model of each family, Gemma 2 27B with 46 layers and Gemma 3 27B
// with 62, divides by the root of width / heads; the others divide by the root of a head's width.
#include "models/gemma_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "files/printable.h"

namespace invar {
namespace {

Result<float> read_score_scale(const Hyperparameters& keys, const GemmaFamily& family, size_t layers,
                               int64_t query_heads, int64_t key_width, ModelConfig& config) {
    double scalar = static_cast<double>(key_width);
    if (!is_gguf(keys)) {
        TRY_ASSIGN(scalar, keys.positive("query scalar"));
    } else if (static_cast<int64_t>(layers) == family.largest_layers) {
        scalar = static_cast<double>(config.width) / static_cast<double>(query_heads);
        config.notes.push_back(
            fmt::format("the scores' scale has no key; with {} layers it is (width / heads)^-0.5", layers));
    }
    return 1.0f / std::sqrt(static_cast<float>(scalar));
}

Result<float> read_softcap(const Hyperparameters& keys, const GemmaFamily& family, std::string_view word) {
    if (!keys.has(word) && (!family.caps || !is_gguf(keys))) return 0.0f;
    TRY_ASSIGN(const double cap, keys.positive(word));
    return static_cast<float>(cap);
}

}  // namespace

Result<std::vector<bool>> read_gemma_windows(const Hyperparameters& keys, size_t layers, int64_t period) {
    if (is_gguf(keys) && keys.is_list("window pattern")) {
        TRY_ASSIGN(std::vector<bool> pattern, keys.booleans("window pattern"));
        if (pattern.size() == layers) return pattern;
        return fail("{}: {} has {} truth values, but the model has {} layers", keys.file(),
                    keys.spell("window pattern"), pattern.size(), layers);
    }
    if (!is_gguf(keys)) {
        TRY_ASSIGN(std::vector<bool> named, read_sliding_layers(keys, layers));
        if (!named.empty()) return named;
    }
    if (keys.has("window pattern")) {
        TRY_ASSIGN(period, keys.integer("window pattern", 1, kMaximumLayers));
    }
    std::vector<bool> slides(layers);
    for (size_t i = 0; i < layers; ++i) slides[i] = static_cast<int64_t>(i + 1) % period != 0;
    return slides;
}

Result<RopeSpec> read_gemma_local_rope(const Hyperparameters& keys, int64_t key_width, double base) {
    RopeSpec rope{.pairing = RopePairing::halves,
                  .rotary_width = static_cast<int>(key_width),
                  .head_width = static_cast<int>(key_width)};
    TRY_ASSIGN(rope.base, keys.positive_or("local rope base", base));
    if (keys.has("local rope scaling")) {
        TRY_ASSIGN(const std::string scaling, keys.text("local rope scaling"));
        if (scaling != "default") {
            return fail(ErrorKind::unsupported,
                        "{}: {} is '{}', but only default is supported for layers with a window", keys.file(),
                        keys.spell("local rope scaling"), printable(scaling));
        }
    }
    if (keys.has("local rope width")) TRY(keys.integer("local rope width", key_width, key_width));
    if (const auto valid = validate(rope); !valid) return fail("{}: {}", keys.file(), valid.error().message);
    return rope;
}

Result<void> read_gemma_layers(const Hyperparameters& keys, ModelConfig& config, const GemmaFamily& family) {
    TRY_ASSIGN(const int64_t count, keys.integer("layers", 1, kMaximumLayers));
    const auto layers = static_cast<size_t>(count);
    TRY_ASSIGN(const Heads heads, read_heads(keys, layers, config));
    TRY_ASSIGN(const std::vector<int64_t> ffn, keys.for_each_layer("ffn width", layers, 1, kMaximumWidth));
    TRY_ASSIGN(const int64_t key_width, read_head_width(keys, "key width", "attn_k.weight", "self_attn.k_proj.weight",
                                                        heads.kv[0], config.notes));
    TRY_ASSIGN(const int64_t value_width, read_head_width(keys, "value width", "attn_v.weight",
                                                          "self_attn.v_proj.weight", heads.kv[0], config.notes));
    TRY_ASSIGN(const std::vector<bool> slides, read_gemma_windows(keys, layers, family.period));
    TRY_ASSIGN(const int64_t window, keys.integer("window", 1, int64_t{1} << 30));
    TRY_ASSIGN(const float scale, read_score_scale(keys, family, layers, heads.query[0], key_width, config));
    TRY_ASSIGN(const float cap, read_softcap(keys, family, "score softcap"));
    TRY_ASSIGN(config.logit_softcap, read_softcap(keys, family, "logit softcap"));
    config.embedding_scale = std::sqrt(static_cast<float>(config.width));
    for (size_t i = 0; i < layers; ++i) {
        LayerSpec& layer = config.layers.emplace_back(LayerSpec{.norm_epsilon = config.norm_epsilon});
        layer.mixer = AttentionGeometry{.heads = static_cast<int>(heads.query[i]),
                                        .kv_heads = static_cast<int>(heads.kv[i]),
                                        .key_width = static_cast<int>(key_width),
                                        .value_width = static_cast<int>(value_width),
                                        .window = slides[i] ? static_cast<int>(window) : 0,
                                        .rope = family.local_rope && slides[i] ? 1 : 0,
                                        .scale = scale,
                                        .softcap = cap};
        layer.ffn = DenseGeometry{.width = ffn[i], .activation = {.kind = Activation::gelu_tanh}};
    }
    if (is_gguf(keys) && !keys.has("rope base") && !family.local_rope) {
        config.notes.push_back(
            fmt::format("{} is absent; architecture {} has 10000", keys.spell("rope base"), family.architecture));
        if (keys.has("rope width")) TRY(keys.integer("rope width", key_width, key_width));
        TRY_ASSIGN(const RopeSpec rope, read_gemma_local_rope(keys, key_width, 1e4));
        config.ropes.push_back(rope);
        return {};
    }
    TRY_ASSIGN(const RopeSpec rope, read_rope(keys, key_width, config));
    config.ropes.push_back(rope);
    if (!family.local_rope) return {};
    if (is_gguf(keys) && !keys.has("local rope base"))
        config.notes.push_back(
            fmt::format("{} is absent; it is 10000 in files from before it existed", keys.spell("local rope base")));
    TRY_ASSIGN(const RopeSpec local, read_gemma_local_rope(keys, key_width, 1e4));
    config.ropes.push_back(local);
    return {};
}

// Hugging Face's post_attention_layernorm stands behind attention here; in Llama's files it is the norm of the
// feed-forward part.
StreamNormNames gemma_norms() {
    StreamNormNames names;
    names.mixer_post.weight = {"attention_post_norm", "post_attention_norm.weight", "post_attention_layernorm.weight"};
    names.ffn.weight = {"ffn_norm", "ffn_norm.weight", "pre_feedforward_layernorm.weight"};
    names.ffn_post.weight = {"ffn_post_norm", "post_ffw_norm.weight", "post_feedforward_layernorm.weight"};
    return names;
}

std::vector<std::string_view> gemma_keys() {
    return {"hidden_activation",       "query_pre_attn_scalar",          "attn_logit_softcapping",
            "final_logit_softcapping", "rope_parameters.full_attention", "rope_parameters.sliding_attention"};
}

}  // namespace invar
