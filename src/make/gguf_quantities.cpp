// The laws of quantities that GGUF expresses otherwise than config.json: see gguf_quantities.h.
#include "make/gguf_quantities.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "base/json.h"
#include "models/hyperparameter_tables.h"
#include "models/hyperparameters.h"

namespace invar {
namespace {

using Value = std::optional<GgufValue>;

// A model as the laws look at it: the first layer of each kind, which stands for all of the kind. Whether that is true
// is found out when the file is read again (gguf_hyperparameters.h).
struct Described {
    const ModelConfig& config;
    const Hyperparameters& keys;
    const AttentionGeometry* full = nullptr;   // that sees all positions; one with a window if there is none
    const AttentionGeometry* local = nullptr;  // with a window
    const LatentGeometry* latent = nullptr;
    const DeltaGeometry* delta = nullptr;
    const StateSpaceGeometry* space = nullptr;
    const MixtureGeometry* mixture = nullptr;
    const RopeSpec* rope = nullptr;        // of `full` or `latent`
    const RopeSpec* local_rope = nullptr;  // of `local`

    // The number that the directory states, if it does.
    std::optional<int64_t> stated(std::string_view word) const {
        const Json* value = keys.stated(word);
        return value != nullptr && value->is_number_integer() ? std::optional(value->get<int64_t>()) : std::nullopt;
    }
};

Described describe(const ModelConfig& config, const Hyperparameters& keys) {
    Described model{.config = config, .keys = keys};
    for (const LayerSpec& layer : config.layers) {
        if (const AttentionGeometry* attention = layer.attention()) {
            const bool slides = attention->window > 0;
            if (slides && model.local == nullptr) model.local = attention;
            if (!slides && (model.full == nullptr || model.full->window > 0)) model.full = attention;
            if (model.full == nullptr) model.full = attention;
        }
        if (model.latent == nullptr) model.latent = layer.latent();
        if (model.delta == nullptr) model.delta = layer.delta();
        if (model.space == nullptr) model.space = layer.state_space();
        if (model.mixture == nullptr) model.mixture = layer.mixture();
    }
    if (!config.ropes.empty()) model.rope = &config.ropes.front();
    if (model.full != nullptr && model.full->window == 0 && model.full->rope >= 0)
        model.rope = &config.ropes[static_cast<size_t>(model.full->rope)];
    if (model.local != nullptr && model.local->rope >= 0)
        model.local_rope = &config.ropes[static_cast<size_t>(model.local->rope)];
    return model;
}

// A number for each layer.
template <class Of>
GgufValue for_each_layer(const Described& model, const Of& of) {
    std::vector<int64_t> numbers;
    for (const LayerSpec& layer : model.config.layers) numbers.push_back(of(layer));
    return numbers;
}

template <class Of>
GgufValue whether_each_layer(const Described& model, const Of& of) {
    std::vector<bool> truths;
    for (const LayerSpec& layer : model.config.layers) truths.push_back(of(layer));
    return truths;
}

// ---- attention

// Layers without attention have the heads of those with it, because no program that reads the key allows a 0.
Value heads(const Described& model) {
    const int64_t otherwise = model.full != nullptr     ? model.full->heads
                              : model.latent != nullptr ? model.latent->heads
                                                        : model.keys.integer("heads", 1, INT32_MAX).value_or(1);
    return for_each_layer(model, [&](const LayerSpec& layer) -> int64_t {
        return layer.attention() != nullptr ? layer.attention()->heads : otherwise;
    });
}

// Latent attention caches one key for all heads. A gated delta net is said by "recurrent layers"; other layers without
// attention are said by 0 here.
Value kv_heads(const Described& model) {
    return for_each_layer(model, [&](const LayerSpec& layer) -> int64_t {
        if (layer.latent() != nullptr) return 1;
        if (layer.attention() != nullptr) return layer.attention()->kv_heads;
        return layer.delta() != nullptr && model.full != nullptr ? model.full->kv_heads : 0;
    });
}

Value key_width(const Described& model) {
    if (model.latent != nullptr) return int64_t{model.latent->latent} + model.latent->rope_width;
    return model.full != nullptr ? Value(int64_t{model.full->key_width}) : std::nullopt;
}
Value value_width(const Described& model) {
    if (model.latent != nullptr) return int64_t{model.latent->latent};
    return model.full != nullptr ? Value(int64_t{model.full->value_width}) : std::nullopt;
}
Value local_key_width(const Described& model) {
    return model.local != nullptr ? Value(int64_t{model.local->key_width}) : std::nullopt;
}
Value local_value_width(const Described& model) {
    return model.local != nullptr ? Value(int64_t{model.local->value_width}) : std::nullopt;
}
Value window(const Described& model) {
    return model.local != nullptr ? Value(int64_t{model.local->window}) : std::nullopt;
}
Value window_pattern(const Described& model) {
    if (model.local == nullptr) return std::nullopt;
    return whether_each_layer(
        model, [](const LayerSpec& layer) { return layer.attention() != nullptr && layer.attention()->window > 0; });
}
Value score_softcap(const Described& model) {
    return model.full != nullptr && model.full->softcap > 0 ? Value(double{model.full->softcap}) : std::nullopt;
}
Value score_scale(const Described& model) {
    return model.full != nullptr ? Value(double{model.full->scale}) : std::nullopt;
}
Value query_temperature(const Described& model) {
    const bool scaled = model.full != nullptr && model.full->temperature.beta != 0;
    return scaled ? Value(double{model.full->temperature.beta}) : std::nullopt;
}
Value sharing_layers(const Described& model) {
    return int64_t{std::count_if(model.config.layers.begin(), model.config.layers.end(), [](const LayerSpec& layer) {
        return layer.attention() != nullptr && layer.attention()->shares >= 0;
    })};
}
// Both parts of a key.
Value latent_key_width(const Described& model) {
    if (model.latent == nullptr) return std::nullopt;
    return int64_t{model.latent->plain_width} + model.latent->rope_width;
}
Value latent_value_width(const Described& model) {
    return model.latent != nullptr ? Value(int64_t{model.latent->value_width}) : std::nullopt;
}
Value query_rank(const Described& model) {
    const bool two = model.latent != nullptr && model.latent->query_rank > 0;
    return two ? Value(int64_t{model.latent->query_rank}) : std::nullopt;
}

// ---- ropes

Value rope_width(const Described& model) {
    return model.rope != nullptr ? Value(int64_t{model.rope->rotary_width}) : std::nullopt;
}
Value local_rope_width(const Described& model) {
    return model.local_rope != nullptr ? Value(int64_t{model.local_rope->rotary_width}) : std::nullopt;
}
Value rope_base(const Described& model) { return model.rope != nullptr ? Value(model.rope->base) : std::nullopt; }
Value local_rope_base(const Described& model) {
    return model.local_rope != nullptr ? Value(model.local_rope->base) : std::nullopt;
}
// Llama 3's scaling, LongRoPE and pairs that do not turn are tensors (gguf_rope_tensors()).
Value rope_scaling(const Described& model) {
    if (model.rope == nullptr || model.rope->scaling == RopeSpec::Scaling::none) return std::nullopt;
    return std::string(model.rope->scaling == RopeSpec::Scaling::yarn ? "yarn" : "linear");
}
Value rope_factor(const Described& model) {
    if (model.rope == nullptr || model.rope->scaling == RopeSpec::Scaling::none) return std::nullopt;
    return model.rope->factor;
}
Value rope_original_context(const Described& model) {
    if (model.rope == nullptr || model.rope->original_context == 0) return std::nullopt;
    return static_cast<int64_t>(model.rope->original_context);
}
bool is_yarn(const Described& model) { return model.rope != nullptr && model.rope->scaling == RopeSpec::Scaling::yarn; }
Value yarn_beta_fast(const Described& model) { return is_yarn(model) ? Value(model.rope->beta_fast) : std::nullopt; }
Value yarn_beta_slow(const Described& model) { return is_yarn(model) ? Value(model.rope->beta_slow) : std::nullopt; }
Value yarn_extrapolation(const Described& model) {
    return is_yarn(model) && model.rope->ext_factor != 1 ? Value(model.rope->ext_factor) : std::nullopt;
}
// mscale_all_dim; a tenth of it in files of models with latent attention.
Value yarn_scale(const Described& model) {
    const double all = model.keys.positive_or("yarn scale of all", 0).value_or(0);
    if (!is_yarn(model) || all == 0) return std::nullopt;
    return model.latent != nullptr ? 0.1 * all : all;
}
// The factor beside the paper's; of OLMo the whole factor. With "yarn scale" both follow from that.
Value yarn_attention_factor(const Described& model) {
    if (!is_yarn(model) || yarn_scale(model)) return std::nullopt;
    const double whole = model.rope->attn_factor * yarn_attention(model.rope->factor, 1.0);
    if (model.config.architecture == "olmo2") return whole;
    return model.rope->attn_factor != 1 ? Value(model.rope->attn_factor) : std::nullopt;
}
Value long_rope_attention(const Described& model) {
    const bool is_long = model.rope != nullptr && !model.rope->long_factors.empty();
    return is_long ? Value(model.rope->attn_factor) : std::nullopt;
}
// Stated only where no layer rotates positions.
Value rope_trained(const Described& model) {
    const bool none = model.full != nullptr && model.config.ropes.empty();
    const bool unused =
        model.full != nullptr && model.full->rope < 0 && (model.local == nullptr || model.local->rope < 0);
    return none || unused ? Value(false) : std::nullopt;
}
// Four numbers of pairs; a model that states none has all pairs in the first.
Value rope_sections(const Described& model) {
    if (model.rope == nullptr) return std::nullopt;
    std::vector<int64_t> sections;
    if (model.keys.stated("rope sections") != nullptr)
        sections = model.keys.integers("rope sections", 0, model.rope->pairs()).value_or(sections);
    if (sections.empty() || sections.size() > 4) sections = {model.rope->pairs()};
    sections.resize(4);
    return sections;
}

// ---- feed-forward parts

// Of a mixture it is what the directory states for dense parts, of which there may be none. In files in which some
// layers have no part at all, it is the number by which those that have one are known.
Value ffn_width(const Described& model) {
    const auto& layers = model.config.layers;
    const auto is_mixture = [](const LayerSpec& layer) { return layer.mixture() != nullptr; };
    const auto has_none = [](const LayerSpec& layer) { return !layer.has_ffn(); };
    std::optional<int64_t> stated = model.stated("ffn width");
    if (std::any_of(layers.begin(), layers.end(), has_none)) stated.reset();
    if (!stated && std::all_of(layers.begin(), layers.end(), is_mixture)) return std::nullopt;
    return for_each_layer(model, [&](const LayerSpec& layer) -> int64_t {
        if (layer.dense() != nullptr) return layer.dense()->width;
        return layer.mixture() != nullptr ? stated.value_or(layer.mixture()->width) : 0;
    });
}
Value experts(const Described& model) {
    return model.mixture != nullptr ? Value(int64_t{model.mixture->experts}) : std::nullopt;
}
Value experts_per_token(const Described& model) {
    return model.mixture != nullptr ? Value(int64_t{model.mixture->route.experts_per_row}) : std::nullopt;
}
Value expert_width(const Described& model) {
    return model.mixture != nullptr ? Value(model.mixture->width) : std::nullopt;
}
Value expert_latent_width(const Described& model) {
    const bool apart = model.mixture != nullptr && model.mixture->latent > 0;
    return apart ? Value(model.mixture->latent) : std::nullopt;
}
// Programs that read files of routers with softmax take the rule of the architecture for this.
Value renormalise(const Described& model) {
    const bool said = model.mixture != nullptr && model.mixture->route.scoring == RouteSpec::Scoring::sigmoid;
    return said ? Value(model.mixture->route.renormalise) : std::nullopt;
}
Value router(const Described& model) {
    if (model.mixture == nullptr) return std::nullopt;
    switch (model.mixture->route.scoring) {
        case RouteSpec::Scoring::softmax:
            return int64_t{1};
        case RouteSpec::Scoring::sigmoid:
            return int64_t{2};
        case RouteSpec::Scoring::softmax_of_chosen:
            return int64_t{3};
    }
    return std::nullopt;
}
Value expert_factor(const Described& model) {
    return model.mixture != nullptr ? Value(double{model.mixture->route.factor}) : std::nullopt;
}
Value expert_groups(const Described& model) {
    return model.mixture != nullptr ? Value(int64_t{model.mixture->route.groups}) : std::nullopt;
}
Value used_expert_groups(const Described& model) {
    return model.mixture != nullptr ? Value(int64_t{model.mixture->route.groups_used}) : std::nullopt;
}
Value shared_experts(const Described& model) {
    if (model.mixture == nullptr) return std::nullopt;
    if (const std::optional<int64_t> stated = model.stated("shared experts")) return *stated;
    const int64_t all = model.mixture->shared_width, each = model.mixture->width;
    return all > 0 && all % each == 0 ? Value(all / each) : std::nullopt;
}
Value shared_expert_width(const Described& model) {
    const bool any = model.mixture != nullptr && model.mixture->shared_width > 0;
    return any ? Value(model.mixture->shared_width) : std::nullopt;
}
// The layers in front of the first mixture.
Value first_mixture_layer(const Described& model) {
    if (model.mixture == nullptr) return std::nullopt;
    const auto& layers = model.config.layers;
    return int64_t{
        std::find_if(layers.begin(), layers.end(), [](const auto& one) { return one.mixture() != nullptr; }) -
        layers.begin()};
}

// ---- recurrences

bool is_delta(const LayerSpec& layer) { return layer.delta() != nullptr; }
Value recurrent_layers(const Described& model) {
    return model.delta != nullptr ? Value(whether_each_layer(model, is_delta)) : std::nullopt;
}
// The first layer that attends, if every so many-th does.
Value attention_interval(const Described& model) {
    if (model.delta == nullptr) return std::nullopt;
    const auto& layers = model.config.layers;
    const int64_t interval = std::find_if_not(layers.begin(), layers.end(), is_delta) - layers.begin() + 1;
    for (int64_t i = 0; i < std::ssize(layers); ++i)
        if (is_delta(layers[static_cast<size_t>(i)]) != ((i + 1) % interval != 0)) return std::nullopt;
    return interval;
}

const RecurrenceHeads* recurrence(const Described& model) {
    if (model.delta != nullptr) return &model.delta->heads;
    return model.space != nullptr ? &model.space->heads : nullptr;
}
Value recurrence_key_heads(const Described& model) {
    return recurrence(model) != nullptr ? Value(int64_t{recurrence(model)->key_heads}) : std::nullopt;
}
Value recurrence_value_heads(const Described& model) {
    return recurrence(model) != nullptr ? Value(int64_t{recurrence(model)->value_heads}) : std::nullopt;
}
Value recurrence_key_width(const Described& model) {
    return recurrence(model) != nullptr ? Value(int64_t{recurrence(model)->key_width}) : std::nullopt;
}
// The elements of all value heads.
Value recurrence_values(const Described& model) {
    const RecurrenceHeads* heads = recurrence(model);
    return heads != nullptr ? Value(int64_t{heads->value_heads} * heads->value_width) : std::nullopt;
}
Value recurrence_taps(const Described& model) {
    if (model.delta != nullptr) return int64_t{model.delta->taps};
    return model.space != nullptr ? Value(int64_t{model.space->taps}) : std::nullopt;
}

// ---- the whole model

Value layers(const Described& model) { return std::ssize(model.config.layers); }
Value width(const Described& model) { return model.config.width; }
Value context(const Described& model) { return model.config.context_length; }
Value vocabulary(const Described& model) { return model.config.vocabulary; }
Value epsilon(const Described& model) { return double{model.config.norm_epsilon}; }
Value embedding_scale(const Described& model) { return double{model.config.embedding_scale}; }
Value residual_scale(const Described& model) { return double{model.config.residual_scale}; }
Value per_layer_width(const Described& model) { return model.config.per_layer_width; }
Value logit_softcap(const Described& model) {
    return model.config.logit_softcap > 0 ? Value(double{model.config.logit_softcap}) : std::nullopt;
}
// Layers that predict further tokens are left out of the file, so that it has none.
Value never(const Described&) { return std::nullopt; }

struct Law {
    std::string_view word;
    Value (*of)(const Described& model);
};
constexpr Law kLaws[] = {
    {"layers", layers},
    {"width", width},
    {"context", context},
    {"vocabulary", vocabulary},
    {"norm epsilon", epsilon},
    {"layer norm epsilon", epsilon},
    {"embedding scale", embedding_scale},
    {"residual scale", residual_scale},
    {"logit softcap", logit_softcap},
    {"per-layer width", per_layer_width},
    {"further layers", never},
    {"heads", heads},
    {"KV heads", kv_heads},
    {"key width", key_width},
    {"value width", value_width},
    {"full key width", key_width},
    {"full value width", value_width},
    {"local key width", local_key_width},
    {"local value width", local_value_width},
    {"window", window},
    {"window pattern", window_pattern},
    {"score softcap", score_softcap},
    {"score scale", score_scale},
    {"query temperature", query_temperature},
    {"layers that share keys", sharing_layers},
    {"latent key width", latent_key_width},
    {"latent value width", latent_value_width},
    {"query rank", query_rank},
    {"rotated key width", rope_width},
    {"rope width", rope_width},
    {"local rope width", local_rope_width},
    {"rope base", rope_base},
    {"local rope base", local_rope_base},
    {"rope scaling", rope_scaling},
    {"rope factor", rope_factor},
    {"old rope factor", never},
    {"rope original context", rope_original_context},
    {"yarn beta fast", yarn_beta_fast},
    {"yarn beta slow", yarn_beta_slow},
    {"yarn extrapolation", yarn_extrapolation},
    {"yarn scale", yarn_scale},
    {"yarn attention", yarn_attention_factor},
    {"rope attention", long_rope_attention},
    {"rope trained", rope_trained},
    {"rope sections", rope_sections},
    {"ffn width", ffn_width},
    {"experts", experts},
    {"experts per token", experts_per_token},
    {"expert width", expert_width},
    {"expert latent width", expert_latent_width},
    {"renormalise", renormalise},
    {"router", router},
    {"expert factor", expert_factor},
    {"expert groups", expert_groups},
    {"used expert groups", used_expert_groups},
    {"shared experts", shared_experts},
    {"shared expert width", shared_expert_width},
    {"first mixture layer", first_mixture_layer},
    {"recurrent layers", recurrent_layers},
    {"attention interval", attention_interval},
    {"delta key heads", recurrence_key_heads},
    {"delta value heads", recurrence_value_heads},
    {"delta key width", recurrence_key_width},
    {"delta values", recurrence_values},
    {"delta taps", recurrence_taps},
    {"state groups", recurrence_key_heads},
    {"state heads", recurrence_value_heads},
    {"state width", recurrence_key_width},
    {"state values", recurrence_values},
    {"state taps", recurrence_taps},
};

// The value of a quantity without a law: as the directory states it.
Value as_stated(const Described& model, std::string_view word) {
    const Json* value = model.keys.stated(word);
    if (value == nullptr) return std::nullopt;
    if (value->is_boolean()) return value->get<bool>();
    if (value->is_number_integer()) return value->get<int64_t>();
    if (value->is_number()) return value->get<double>();
    if (value->is_string()) return value->get<std::string>();
    const bool integers =
        value->is_array() && !value->empty() &&
        std::all_of(value->begin(), value->end(), [](const Json& one) { return one.is_number_integer(); });
    return integers ? Value(value->get<std::vector<int64_t>>()) : std::nullopt;
}

}  // namespace

std::vector<GgufQuantity> gguf_quantities(const Checkpoint& directory, const ModelConfig& config) {
    const Hyperparameters keys(directory);
    const Described model = describe(config, keys);
    std::vector<GgufQuantity> quantities;
    for (const Word& word : words()) {
        if (word.gguf.empty()) continue;
        const auto* law =
            std::find_if(std::begin(kLaws), std::end(kLaws), [&](const Law& one) { return one.word == word.ours; });
        Value value = law != std::end(kLaws) ? law->of(model) : as_stated(model, word.ours);
        if (value) quantities.push_back({word.ours, word.gguf, std::move(*value)});
    }
    return quantities;
}

}  // namespace invar
