// Architectures "nemotron_h" and "nemotron_h_moe": Nemotron-H and Nemotron 3, dense and with mixtures of experts.
// A layer is one branch behind one norm: Mamba 2, attention without rope, a dense part, or a mixture. The pattern of
// config.json says which, a letter a layer, and decides how many there are; GGUF files say it by KV heads and
// feed-forward widths that are 0 where the layer has no such part. Feed-forward parts have no gate; their activation is
// the square of relu. Routers are sigmoids with a bias for the choice alone, as DeepSeek-V3's; experts may work in a
// smaller width, into and out of which all share a projection, and one expert of a width of its own takes every token.
// The epsilon is called that of layer norms but belongs to RMSNorms. GGUF files hold the rows of queries and keys as
// for rope, although there is none. Source: transformers 5.24, models/nemotron_h.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "files/printable.h"
#include "models/architectures.h"
#include "models/decoder.h"
#include "models/read_config.h"
#include "models/read_mixture.h"
#include "models/state_space_config.h"

namespace invar {
namespace {

enum class Kind : uint8_t { recurrent, attention, dense, mixture };

struct KindName {
    Kind kind;
    char letter;
    std::string_view names[2];  // of lists: as transformers writes it today, and as it did
};
constexpr KindName kKinds[] = {{Kind::recurrent, 'M', {"linear_attention", "mamba"}},
                               {Kind::attention, '*', {"full_attention", "attention"}},
                               {Kind::dense, '-', {"mlp", "mlp"}},
                               {Kind::mixture, 'E', {"moe", "moe"}}};

// The layers that the model runs; the widths of dense parts are 0 where there is none.
struct Plan {
    std::vector<Kind> kinds;
    std::vector<int64_t> heads, kv_heads, dense_widths;

    bool has(Kind kind) const { return std::find(kinds.begin(), kinds.end(), kind) != kinds.end(); }
};

// config.json has one epsilon. GGUF files have it under one key or two.
Result<std::string_view> epsilon_word(const Hyperparameters& keys) {
    constexpr std::string_view kLayerNorm = "layer norm epsilon", kRms = "norm epsilon";
    if (!is_gguf(keys) || !keys.has(kRms)) return kLayerNorm;
    if (!keys.has(kLayerNorm)) return kRms;
    TRY_ASSIGN(const double rms, keys.positive(kRms));
    TRY_ASSIGN(const double layer_norm, keys.positive(kLayerNorm));
    if (rms == layer_norm) return kRms;
    return fail("{}: {} is {}, but {} is {}; both mean the same here, so only one can be right", keys.file(),
                keys.spell(kRms), rms, keys.spell(kLayerNorm), layer_norm);
}

Result<std::vector<Kind>> kinds_of_pattern(const Hyperparameters& keys) {
    TRY_ASSIGN(const std::string pattern, keys.text("layer pattern"));
    std::vector<Kind> kinds;
    for (const char letter : pattern) {
        const auto* kind = std::find_if(std::begin(kKinds), std::end(kKinds),
                                        [&](const KindName& one) { return one.letter == letter; });
        if (kind == std::end(kKinds)) {
            return fail("{}: {} has '{}' for layer {}, but only M, *, - and E are kinds of layers", keys.file(),
                        keys.spell("layer pattern"), printable({&letter, 1}), kinds.size());
        }
        kinds.push_back(kind->kind);
    }
    return kinds;
}

Result<std::vector<Kind>> kinds_of_list(const Hyperparameters& keys) {
    TRY_ASSIGN(const std::vector<std::string> names, keys.texts("kinds of blocks"));
    std::vector<Kind> kinds;
    for (const std::string& name : names) {
        const auto* kind = std::find_if(std::begin(kKinds), std::end(kKinds), [&](const KindName& one) {
            return one.names[0] == name || one.names[1] == name;
        });
        if (kind == std::end(kKinds)) {
            return fail(
                "{}: {} has the kind '{}' for layer {}, but only linear_attention, full_attention, mlp and moe "
                "are kinds of layers",
                keys.file(), keys.spell("kinds of blocks"), printable(name), kinds.size());
        }
        kinds.push_back(kind->kind);
    }
    return kinds;
}

Result<std::vector<Kind>> read_kinds(const Hyperparameters& keys, ModelConfig& config) {
    std::vector<Kind> kinds;
    const bool pattern = keys.has("layer pattern"), list = keys.has("kinds of blocks");
    const std::string_view word = pattern ? "layer pattern" : "kinds of blocks";
    TRY_ASSIGN(kinds, pattern ? kinds_of_pattern(keys) : kinds_of_list(keys));
    if (pattern && list) {
        TRY_ASSIGN(const std::vector<Kind> listed, kinds_of_list(keys));
        if (listed != kinds) {
            return fail("{}: {} and {} name different layers; the file contradicts itself", keys.file(),
                        keys.spell("layer pattern"), keys.spell("kinds of blocks"));
        }
    }
    if (kinds.empty() || kinds.size() > kMaximumLayers) {
        return fail("{}: {} names {} layers, but 1 to {} are possible", keys.file(), keys.spell(word), kinds.size(),
                    kMaximumLayers);
    }
    if (!keys.has("layers")) return kinds;
    TRY_ASSIGN(const int64_t stated, keys.integer("layers", 0, INT32_MAX));
    if (stated != static_cast<int64_t>(kinds.size())) {
        config.notes.push_back(fmt::format("{} is {}, but the model has the {} layers that {} names",
                                           keys.spell("layers"), stated, kinds.size(), keys.spell(word)));
    }
    return kinds;
}

Result<Plan> plan_of_json(const Hyperparameters& keys, ModelConfig& config) {
    Plan plan;
    TRY_ASSIGN(plan.kinds, read_kinds(keys, config));
    const size_t layers = plan.kinds.size();
    plan.heads.resize(layers);
    plan.kv_heads.resize(layers);
    plan.dense_widths.resize(layers);
    if (plan.has(Kind::attention)) {
        TRY_ASSIGN(plan.heads, keys.for_each_layer("heads", layers, 1, kMaximumHeads));
        TRY_ASSIGN(plan.kv_heads, keys.for_each_layer("KV heads", layers, 1, kMaximumHeads));
    }
    if (plan.has(Kind::dense)) {
        TRY_ASSIGN(plan.dense_widths, keys.for_each_layer("ffn width", layers, 1, kMaximumWidth));
    }
    return plan;
}

// Every feed-forward part of a file with experts is a mixture.
Result<Plan> plan_of_gguf(const Hyperparameters& keys, ModelConfig& config) {
    Plan plan;
    TRY_ASSIGN(const int64_t all, keys.integer("layers", 1, kMaximumLayers));
    const auto every = static_cast<size_t>(all);
    TRY_ASSIGN(plan.heads, keys.for_each_layer("heads", every, 1, kMaximumHeads));
    TRY_ASSIGN(plan.kv_heads, keys.for_each_layer("KV heads", every, 0, kMaximumHeads));
    TRY_ASSIGN(plan.dense_widths, keys.for_each_layer("ffn width", every, 0, kMaximumWidth));
    int64_t experts = 0;
    if (keys.has("experts")) {
        TRY_ASSIGN(experts, keys.integer("experts", 0, kMaximumExperts));
    }
    TRY_ASSIGN(const size_t layers, read_layer_count(keys, config));
    for (size_t i = 0; i < layers; ++i) {
        const bool attends = plan.kv_heads[i] > 0, feeds = plan.dense_widths[i] > 0;
        if (attends && feeds) {
            return fail("{}: {} and {} give layer {} attention and a feed-forward part, but it can have only one",
                        keys.file(), keys.spell("KV heads"), keys.spell("ffn width"), i);
        }
        plan.kinds.push_back(attends       ? Kind::attention
                             : !feeds      ? Kind::recurrent
                             : experts > 0 ? Kind::mixture
                                           : Kind::dense);
    }
    return plan;
}

Result<MixtureGeometry> read_experts(const Hyperparameters& keys, ModelConfig& config) {
    TRY_ASSIGN(MixtureGeometry mixture, read_shared_mixture(keys, RouteSpec::Scoring::sigmoid, config.notes));
    mixture.activation = {.kind = Activation::relu_squared};
    mixture.gated = false;
    if (keys.has("shared experts")) {
        TRY_ASSIGN(const int64_t shared, keys.integer("shared experts", 0, kMaximumExperts));
        if (shared != 1) {
            return fail(ErrorKind::unsupported, "{}: {} is {}, but only 1 is supported for this architecture",
                        keys.file(), keys.spell("shared experts"), shared);
        }
    }
    TRY_ASSIGN(mixture.shared_width, keys.integer("shared expert width", 1, kMaximumWidth));
    if (!keys.has("expert latent width")) return mixture;
    TRY_ASSIGN(mixture.latent, keys.integer("expert latent width", 1, kMaximumWidth));
    return mixture;
}

Result<AttentionGeometry> read_attention(const Hyperparameters& keys, const Plan& plan, size_t layer) {
    TRY_ASSIGN(const int64_t key_width, keys.integer("key width", 1, kMaximumHeadWidth));
    TRY_ASSIGN(const int64_t value_width, keys.integer("value width", 1, kMaximumHeadWidth));
    const int64_t heads = plan.heads[layer], kv_heads = plan.kv_heads[layer];
    if (heads % kv_heads != 0) {
        return fail("{}: layer {} has {} query heads and {} KV heads, but the first must be a multiple of the second",
                    keys.file(), layer, heads, kv_heads);
    }
    return AttentionGeometry{.heads = static_cast<int>(heads),
                             .kv_heads = static_cast<int>(kv_heads),
                             .key_width = static_cast<int>(key_width),
                             .value_width = static_cast<int>(value_width),
                             .scale = 1.0f / std::sqrt(static_cast<float>(key_width))};
}

// Settings that other models of this type could have and that have no law here.
Result<void> refuse_settings(const Hyperparameters& keys) {
    if (keys.has("ungated activation")) {
        TRY_ASSIGN(const std::string activation, keys.text("ungated activation"));
        if (activation != "relu2") {
            return fail(ErrorKind::unsupported, "{}: {} is '{}', but only relu2 is supported for this architecture",
                        keys.file(), keys.spell("ungated activation"), printable(activation));
        }
    }
    for (const char* word : {"projection biases", "rope trained"}) {
        TRY_ASSIGN(const bool set, keys.boolean_or(word, false));
        if (set) {
            return fail(ErrorKind::unsupported, "{}: {} is true, but only false is supported for this architecture",
                        keys.file(), keys.spell(word));
        }
    }
    if (!keys.has("window")) return {};
    TRY_ASSIGN(const int64_t window, keys.integer("window", 0, INT32_MAX));
    if (window == 0) return {};
    return fail(ErrorKind::unsupported, "{}: {} is {}, but windows are not supported for this architecture",
                keys.file(), keys.spell("window"), window);
}

Result<void> read_layers(const Hyperparameters& keys, ModelConfig& config) {
    TRY(refuse_settings(keys));
    TRY_ASSIGN(const Plan plan, is_gguf(keys) ? plan_of_gguf(keys, config) : plan_of_json(keys, config));
    std::optional<StateSpaceGeometry> recurrent;
    if (plan.has(Kind::recurrent)) {
        TRY_ASSIGN(recurrent, read_state_space(keys, config));
    }
    std::optional<MixtureGeometry> mixture;
    if (plan.has(Kind::mixture)) {
        TRY_ASSIGN(mixture, read_experts(keys, config));
    }
    for (size_t i = 0; i < plan.kinds.size(); ++i) {
        LayerSpec layer{.mixer = NoBranch{}, .ffn = NoBranch{}, .norm_epsilon = config.norm_epsilon};
        switch (plan.kinds[i]) {
            case Kind::recurrent:
                layer.mixer = *recurrent;
                break;
            case Kind::attention: {
                TRY_ASSIGN(layer.mixer, read_attention(keys, plan, i));
                break;
            }
            case Kind::dense:
                layer.ffn = DenseGeometry{
                    .width = plan.dense_widths[i], .activation = {.kind = Activation::relu_squared}, .gated = false};
                break;
            case Kind::mixture:
                layer.ffn = *mixture;
                break;
        }
        config.layers.push_back(layer);
    }
    return check_convolution_biases(keys, config, StateSpaceNames().convolution_bias);
}

Result<ModelConfig> read_config(const Checkpoint& checkpoint) {
    const Hyperparameters keys(checkpoint);
    TRY_ASSIGN(const std::string_view epsilon, epsilon_word(keys));
    return read_decoder_config(checkpoint, {.architecture = "nemotron_h",
                                            .epsilon = epsilon,
                                            .computes = {"n_group", "routed_scaling_factor", "use_bias"},
                                            .read_layers = read_layers});
}

DecoderTraits traits() {
    DecoderTraits traits{.gguf_rope_neighbours = true, .selection_biases = true};
    traits.norms.mixer = {{"attention_norm", "attn_norm.weight", "norm.weight"}, {}};
    traits.norms.ffn = {{"ffn_norm", "attn_norm.weight", "norm.weight"}, {}};
    traits.attention.query = "mixer.q_proj.weight";
    traits.attention.key = "mixer.k_proj.weight";
    traits.attention.value = "mixer.v_proj.weight";
    traits.attention.output = "mixer.o_proj.weight";
    traits.attention.query_bias = "mixer.q_proj.bias";
    traits.attention.key_bias = "mixer.k_proj.bias";
    traits.attention.value_bias = "mixer.v_proj.bias";
    traits.attention.output_bias = "mixer.o_proj.bias";
    traits.dense.up.hugging_face = "mixer.up_proj.weight";
    traits.dense.down.hugging_face = "mixer.down_proj.weight";
    traits.mixture.router = "mixer.gate.weight";
    traits.mixture.selection_bias = "mixer.gate.e_score_correction_bias";
    traits.mixture.up = "mixer.experts.{}.up_proj.weight";
    traits.mixture.down = "mixer.experts.{}.down_proj.weight";
    traits.mixture.down_fused = {};
    traits.mixture.shared.up.hugging_face = "mixer.shared_experts.up_proj.weight";
    traits.mixture.shared.down.hugging_face = "mixer.shared_experts.down_proj.weight";
    return traits;
}

}  // namespace

const Architecture kNemotronHArchitecture{
    .name = "nemotron_h",
    .summary = "Nemotron-H and Nemotron 3: Mamba 2, attention and feed-forward parts, each a layer",
    .model_types = {"nemotron_h"},
    .also = {"nemotron_h_moe"},
    .gguf_with_experts = "nemotron_h_moe",
    .read_config = read_config,
    .declare = declare_with<traits>,
    .build = build_with<traits>};

}  // namespace invar
