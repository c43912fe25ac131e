// Reads Gemma 4's config: see gemma4_config.h. "Full" layers see all positions, the others have a window.
//
// config.json states the width of heads and the KV heads of full layers as global_head_dim and
// num_global_key_value_heads (which counts only if attention_k_eq_v is true), or, as transformers 5 saves it, as
// per_layer_config. Full layers turn a quarter of their pairs, whose exponents count all of them; GGUF files say so by
// the frequency factors 1 (turns) and 1e30 (does not). The last num_kv_shared_layers layers have no keys and values:
// they attend those of the last layer of their kind in front of them.
#include "models/gemma4_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "files/json_document.h"
#include "files/printable.h"
#include "models/gemma_config.h"
#include "models/tensor_names.h"

namespace invar {
namespace {

constexpr float kTurnsNot = 1e30f;  // the factor of such a pair

// What differs between layers.
struct Gemma4Layers {
    std::vector<bool> slides;
    std::vector<int64_t> kv_heads, key_width, value_width;
    std::vector<bool> values_are_keys;
    size_t own_keys = 0;  // so many layers have keys and values of their own
};

// The object with the numbers of single layers; null if there is none.
Result<const Json*> per_layer_config(const Hyperparameters& keys) {
    if (is_gguf(keys)) return nullptr;
    const Json& config = keys.checkpoint().config();
    const auto found = config.find("per_layer_config");
    if (found == config.end() || found->is_null()) return nullptr;
    if (!found->is_object()) {
        return fail("{}: the key 'per_layer_config' is {}, but an object or null is needed", keys.file(),
                    kind_of(*found));
    }
    return &*found;
}

Result<void> read_one_layer(const Hyperparameters& keys, const std::string& layer, const Json& numbers, size_t index,
                            Gemma4Layers& layers) {
    if (!numbers.is_object())
        return fail("{}: the key 'per_layer_config.{}' is {}, but an object is needed", keys.file(), layer,
                    kind_of(numbers));
    for (const auto& [name, value] : numbers.items()) {
        const bool width = name == "head_dim";
        if (!width && name != "num_key_value_heads") {
            return fail(ErrorKind::unsupported,
                        "{}: the key 'per_layer_config.{}.{}' is not supported (supported: head_dim, "
                        "num_key_value_heads)",
                        keys.file(), layer, printable(name));
        }
        const int64_t most = width ? kMaximumHeadWidth : kMaximumHeads;
        if (!value.is_number_unsigned() || value.get<uint64_t>() < 1 ||
            value.get<uint64_t>() > static_cast<uint64_t>(most)) {
            return fail("{}: the key 'per_layer_config.{}.{}' must be an integer between 1 and {}", keys.file(), layer,
                        name, most);
        }
        (width ? layers.key_width : layers.kv_heads)[index] = value.get<int64_t>();
        if (width) layers.value_width[index] = value.get<int64_t>();
    }
    return {};
}

Result<void> read_layers_of(const Hyperparameters& keys, const Json& all, Gemma4Layers& layers) {
    for (const auto& [name, numbers] : all.items()) {
        const bool digits =
            !name.empty() && name.size() < 6 && name.find_first_not_of("0123456789") == std::string::npos;
        if (!digits || std::stoull(name) >= layers.slides.size()) {
            return fail("{}: the key 'per_layer_config' names layer '{}', but the model has {} layers", keys.file(),
                        printable(name), layers.slides.size());
        }
        TRY(read_one_layer(keys, name, numbers, std::stoull(name), layers));
    }
    return {};
}

// Widths and KV heads of each layer.
Result<void> read_geometry(const Hyperparameters& keys, Gemma4Layers& layers, ModelConfig& config) {
    const size_t count = layers.slides.size();
    TRY_ASSIGN(const Heads heads, read_heads(keys, count, config));
    layers.kv_heads = heads.kv;
    TRY_ASSIGN(const int64_t local_key, keys.integer("local key width", 1, kMaximumHeadWidth));
    TRY_ASSIGN(const int64_t local_value, keys.integer("local value width", 1, kMaximumHeadWidth));
    layers.key_width.assign(count, local_key);
    layers.value_width.assign(count, local_value);
    layers.values_are_keys.assign(count, false);
    TRY_ASSIGN(const bool of_keys, keys.boolean_or("values are keys", false));
    TRY_ASSIGN(const Json* single, per_layer_config(keys));
    const TensorNames names(keys.checkpoint());
    for (size_t i = 0; i < count; ++i) {
        if (layers.slides[i]) continue;
        const std::string value = names.name(static_cast<int>(i), "attn_v.weight", "self_attn.v_proj.weight");
        layers.values_are_keys[i] = is_gguf(keys) ? keys.checkpoint().find(value) == nullptr : of_keys;
        if (single != nullptr) continue;
        TRY_ASSIGN(layers.key_width[i], keys.integer("full key width", 1, kMaximumHeadWidth));
        TRY_ASSIGN(layers.value_width[i], keys.integer("full value width", 1, kMaximumHeadWidth));
        if (!of_keys || !keys.has("full KV heads")) continue;
        TRY_ASSIGN(layers.kv_heads[i], keys.integer("full KV heads", 1, kMaximumHeads));
    }
    if (single != nullptr) TRY(read_layers_of(keys, *single, layers));
    for (size_t i = 0; i < count; ++i) {
        if (layers.values_are_keys[i] && layers.key_width[i] != layers.value_width[i]) {
            return fail("{}: the values of layer {} are its keys, but they have {} and {} elements", keys.file(), i,
                        layers.value_width[i], layers.key_width[i]);
        }
        if (heads.query[i] % layers.kv_heads[i] != 0) {
            return fail(
                "{}: layer {} has {} query heads and {} KV heads, but the first must be a multiple of the second",
                keys.file(), i, heads.query[i], layers.kv_heads[i]);
        }
    }
    return {};
}

// The first layer of a kind, whose widths all of the kind must have.
Result<std::optional<size_t>> first_of(const Hyperparameters& keys, const Gemma4Layers& layers, bool slides) {
    std::optional<size_t> first;
    for (size_t i = 0; i < layers.slides.size(); ++i) {
        if (layers.slides[i] != slides) continue;
        if (!first) first = i;
        if (layers.key_width[i] == layers.key_width[*first] && layers.value_width[i] == layers.value_width[*first])
            continue;
        return fail(ErrorKind::unsupported,
                    "{}: layers {} and {} are of one kind, but their heads have {} and {} elements, which is not "
                    "supported",
                    keys.file(), *first, i, layers.key_width[*first], layers.key_width[i]);
    }
    return first;
}

// How many pairs of a head of a full layer turn, from frequency factors.
Result<int> read_turning_factors(const Hyperparameters& keys, const RopeSpec& rope, ModelConfig& config) {
    TRY_ASSIGN(const std::vector<float> factors, read_frequency_factors(keys, rope, config));
    if (factors.empty())
        return fail("{}: tensor 'rope_freqs.weight' is missing, which says how many pairs of a head turn", keys.file());
    const auto end = std::find(factors.begin(), factors.end(), kTurnsNot);
    const bool known = std::all_of(factors.begin(), end, [](float factor) { return factor == 1.0f; }) &&
                       std::all_of(end, factors.end(), [](float factor) { return factor == kTurnsNot; });
    if (known && end != factors.begin()) return static_cast<int>(end - factors.begin());
    return fail(ErrorKind::unsupported,
                "{}: tensor 'rope_freqs.weight' must have the factor 1 for the pairs that turn and then 1e30 for the "
                "others; other factors are not supported for this architecture",
                keys.file());
}

Result<RopeSpec> read_full_rope(const Hyperparameters& keys, int64_t key_width, ModelConfig& config) {
    RopeSpec rope{.pairing = RopePairing::halves,
                  .rotary_width = static_cast<int>(key_width),
                  .head_width = static_cast<int>(key_width)};
    TRY_ASSIGN(rope.base, keys.positive("rope base"));
    if (keys.has("rope width")) TRY(keys.integer("rope width", key_width, key_width));
    const std::string_view only = is_gguf(keys) ? "none" : "proportional";
    if (keys.has("rope scaling")) {
        TRY_ASSIGN(const std::string scaling, keys.text("rope scaling"));
        if (scaling != only) {
            return fail(ErrorKind::unsupported, "{}: {} is '{}', but only {} is supported for this architecture",
                        keys.file(), keys.spell("rope scaling"), printable(scaling), only);
        }
    }
    TRY_ASSIGN(const double factor, keys.positive_or("rope factor", 1.0));
    if (factor != 1.0) {
        return fail(ErrorKind::unsupported, "{}: {} is {}, but only 1 is supported for this architecture", keys.file(),
                    keys.spell("rope factor"), factor);
    }
    if (const auto valid = validate(rope); !valid) return fail("{}: {}", keys.file(), valid.error().message);
    if (is_gguf(keys)) {
        TRY_ASSIGN(rope.turning_pairs, read_turning_factors(keys, rope, config));
        return rope;
    }
    TRY_ASSIGN(const double part, keys.positive("turning part of full rope"));
    const double pairs = std::floor(part * static_cast<double>(key_width) / 2);
    if (part > 1 || pairs < 1) {
        return fail("{}: {} is {}, by which {} of {} pairs of a head turn, but it must be one at least and all at most",
                    keys.file(), keys.spell("turning part of full rope"), part, pairs, rope.pairs());
    }
    rope.turning_pairs = static_cast<int>(pairs);
    return rope;
}

// ropes[0] is that of full layers, ropes[1] that of the others; a kind without layers has none.
Result<void> read_ropes(const Hyperparameters& keys, const Gemma4Layers& layers, ModelConfig& config) {
    TRY_ASSIGN(const std::optional<size_t> full, first_of(keys, layers, false));
    TRY_ASSIGN(const std::optional<size_t> local, first_of(keys, layers, true));
    if (!full) return fail("{}: every layer has a window, but the last one of this architecture has none", keys.file());
    TRY_ASSIGN(const RopeSpec rope, read_full_rope(keys, layers.key_width[*full], config));
    config.ropes.push_back(rope);
    if (!local) return {};
    TRY_ASSIGN(const RopeSpec local_rope, read_gemma_local_rope(keys, layers.key_width[*local], 1e4));
    config.ropes.push_back(local_rope);
    return {};
}

// Old files still have the projections of layers that attend the keys of another.
void leave_out_shared_keys(const Hyperparameters& keys, size_t first, ModelConfig& config) {
    const TensorNames names(keys.checkpoint());
    constexpr std::pair<std::string_view, std::string_view> kParts[] = {{"attn_k.*", "self_attn.k_proj.*"},
                                                                        {"attn_v.*", "self_attn.v_proj.*"},
                                                                        {"attn_k_norm.*", "self_attn.k_norm.*"}};
    for (size_t i = first; i < config.layers.size(); ++i) {
        for (const auto& [gguf, hugging_face] : kParts) {
            config.tensors_unused.push_back({names.name(static_cast<int>(i), gguf, hugging_face),
                                             "a layer that attends the keys of an earlier one does not use it"});
        }
    }
}

// The layer whose keys layer `at` attends: the last one of its kind that has keys of its own.
Result<int> read_producer(const Hyperparameters& keys, const Gemma4Layers& layers, size_t at) {
    for (size_t i = layers.own_keys; i-- > 0;) {
        if (layers.slides[i] != layers.slides[at]) continue;
        if (layers.kv_heads[i] == layers.kv_heads[at]) return static_cast<int>(i);
        return fail("{}: layer {} attends the keys of layer {}, but they have {} and {} KV heads", keys.file(), at, i,
                    layers.kv_heads[at], layers.kv_heads[i]);
    }
    return fail("{}: {} leaves layer {} without keys, but no layer of its kind in front of it has any", keys.file(),
                keys.spell("layers that share keys"), at);
}

// The widths of the dense parts.
Result<std::vector<int64_t>> read_widths(const Hyperparameters& keys, const Gemma4Layers& layers) {
    TRY_ASSIGN(std::vector<int64_t> widths, keys.for_each_layer("ffn width", layers.slides.size(), 1, kMaximumWidth));
    TRY_ASSIGN(const bool doubled, keys.boolean_or("double width", false));
    for (size_t i = layers.own_keys; doubled && i < widths.size(); ++i) widths[i] *= 2;
    return widths;
}

Result<std::optional<MixtureGeometry>> read_gemma4_mixture(const Hyperparameters& keys) {
    TRY_ASSIGN(const bool used, keys.boolean_or("mixture used", is_gguf(keys)));
    if (!used || (is_gguf(keys) && !keys.has("experts"))) return std::optional<MixtureGeometry>();
    TRY_ASSIGN(const int64_t experts, keys.integer("experts", is_gguf(keys) ? 0 : 1, kMaximumExperts));
    if (experts == 0) return std::optional<MixtureGeometry>();
    TRY(check_renormalised(keys));
    MixtureGeometry mixture{.experts = static_cast<int>(experts), .activation = {.kind = Activation::gelu_tanh}};
    TRY_ASSIGN(const int64_t per_token, read_experts_per_token(keys, experts));
    mixture.route.experts_per_row = static_cast<int>(per_token);
    TRY_ASSIGN(mixture.width, keys.integer("expert width", 1, kMaximumWidth));
    return std::optional<MixtureGeometry>(mixture);
}

Result<void> check_direction(const Hyperparameters& keys) {
    if (is_gguf(keys) || !keys.has("attention both ways")) return {};
    TRY_ASSIGN(const std::string ways, keys.text("attention both ways"));
    if (ways == "vision") return {};  // of images only
    return fail(ErrorKind::unsupported, "{}: {} is '{}', but tokens of a text attend only to those before them here",
                keys.file(), keys.spell("attention both ways"), printable(ways));
}

Result<void> read_layers(const Hyperparameters& keys, ModelConfig& config) {
    TRY(check_direction(keys));
    TRY_ASSIGN(const int64_t count, keys.integer("layers", 1, kMaximumLayers));
    Gemma4Layers layers;
    if (is_gguf(keys) && !keys.is_list("window pattern")) TRY(keys.booleans("window pattern"));
    TRY_ASSIGN(layers.slides, read_gemma_windows(keys, static_cast<size_t>(count), 6));
    if (!is_gguf(keys)) layers.slides.back() = false;  // as transformers has it, whatever the config says
    TRY_ASSIGN(const int64_t window, keys.integer("window", 1, int64_t{1} << 30));
    TRY(read_geometry(keys, layers, config));
    int64_t sharing = 0;
    if (keys.has("layers that share keys")) {
        TRY_ASSIGN(sharing, keys.integer("layers that share keys", 0, count - 1));
    }
    layers.own_keys = static_cast<size_t>(count - sharing);
    TRY_ASSIGN(const std::vector<int64_t> widths, read_widths(keys, layers));
    TRY_ASSIGN(const std::optional<MixtureGeometry> mixture, read_gemma4_mixture(keys));
    TRY_ASSIGN(const std::vector<int64_t> heads,
               keys.for_each_layer("heads", static_cast<size_t>(count), 1, kMaximumHeads));
    TRY(read_ropes(keys, layers, config));
    for (size_t i = 0; i < layers.slides.size(); ++i) {
        LayerSpec& layer = config.layers.emplace_back(LayerSpec{.norm_epsilon = config.norm_epsilon});
        AttentionGeometry attention{.heads = static_cast<int>(heads[i]),
                                    .kv_heads = static_cast<int>(layers.kv_heads[i]),
                                    .key_width = static_cast<int>(layers.key_width[i]),
                                    .value_width = static_cast<int>(layers.value_width[i]),
                                    .window = layers.slides[i] ? static_cast<int>(window) : 0,
                                    .rope = layers.slides[i] ? 1 : 0,
                                    .scale = 1,
                                    .unit_values = true};
        if (i >= layers.own_keys) {
            TRY_ASSIGN(attention.shares, read_producer(keys, layers, i));
        } else {
            attention.values_are_keys = layers.values_are_keys[i];
        }
        layer.mixer = attention;
        layer.ffn = DenseGeometry{.width = widths[i], .activation = {.kind = Activation::gelu_tanh}};
        if (mixture) {
            MixtureGeometry with_dense = *mixture;
            with_dense.shared_width = widths[i];
            layer.ffn = with_dense;
        }
    }
    leave_out_shared_keys(keys, layers.own_keys, config);
    config.embedding_scale = std::sqrt(static_cast<float>(config.width));
    TRY_ASSIGN(const double cap, keys.has("logit softcap") ? keys.positive("logit softcap") : Result<double>(0.0));
    config.logit_softcap = static_cast<float>(cap);
    if (is_gguf(keys) && cap == 0)
        config.notes.push_back(fmt::format("{} is absent; logits have no soft cap", keys.spell("logit softcap")));
    if (keys.has("per-layer width")) {
        TRY_ASSIGN(config.per_layer_width, keys.integer("per-layer width", 0, kMaximumWidth));
    }
    return {};
}

}  // namespace

Result<ModelConfig> read_gemma4_config(const Checkpoint& checkpoint) {
    return read_decoder_config(
        checkpoint, {.architecture = "gemma4",
                     .activation = "gelu_pytorch_tanh",
                     .computes = {"hidden_activation", "final_logit_softcapping", "use_bidirectional_attention",
                                  "rope_parameters.full_attention", "rope_parameters.sliding_attention",
                                  "rope_parameters.full_attention.partial_rotary_factor"},
                     .read_layers = read_layers});
}

}  // namespace invar
