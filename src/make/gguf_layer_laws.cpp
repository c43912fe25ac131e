// How GGUF expresses feed-forward parts and recurrences: see gguf_quantity_laws.h.
#include <algorithm>

#include "make/gguf_quantity_laws.h"

namespace invar {
namespace {

using Value = GgufLawValue;

// Of a mixture it is what the directory states for dense parts, of which there may be none. In files in which some
// layers have no part at all, it is the number by which those that have one are known.
Value ffn_width(const DescribedModel& model) {
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
Value experts(const DescribedModel& model) {
    return model.mixture != nullptr ? Value(int64_t{model.mixture->experts}) : std::nullopt;
}
Value experts_per_token(const DescribedModel& model) {
    return model.mixture != nullptr ? Value(int64_t{model.mixture->route.experts_per_row}) : std::nullopt;
}
Value expert_width(const DescribedModel& model) {
    return model.mixture != nullptr ? Value(model.mixture->width) : std::nullopt;
}
Value expert_latent_width(const DescribedModel& model) {
    const bool apart = model.mixture != nullptr && model.mixture->latent > 0;
    return apart ? Value(model.mixture->latent) : std::nullopt;
}
// Programs that read files of routers with softmax take the rule of the architecture for this.
Value renormalise(const DescribedModel& model) {
    const bool said = model.mixture != nullptr && model.mixture->route.scoring == RouteSpec::Scoring::sigmoid;
    return said ? Value(model.mixture->route.renormalise) : std::nullopt;
}
Value router(const DescribedModel& model) {
    if (model.mixture == nullptr) return std::nullopt;
    switch (model.mixture->route.scoring) {
        case RouteSpec::Scoring::softmax:
            return int64_t{1};
        case RouteSpec::Scoring::sigmoid:
            return int64_t{2};
        case RouteSpec::Scoring::softmax_of_chosen:
            return int64_t{3};
        case RouteSpec::Scoring::sigmoid_of_chosen:
            return int64_t{2};
    }
    return std::nullopt;
}
Value expert_factor(const DescribedModel& model) {
    return model.mixture != nullptr ? Value(double{model.mixture->route.factor}) : std::nullopt;
}
Value expert_groups(const DescribedModel& model) {
    return model.mixture != nullptr ? Value(int64_t{model.mixture->route.groups}) : std::nullopt;
}
Value used_expert_groups(const DescribedModel& model) {
    return model.mixture != nullptr ? Value(int64_t{model.mixture->route.groups_used}) : std::nullopt;
}
Value shared_experts(const DescribedModel& model) {
    if (model.mixture == nullptr) return std::nullopt;
    if (const std::optional<int64_t> stated = model.stated("shared experts")) return *stated;
    const int64_t all = model.mixture->shared_width, each = model.mixture->width;
    return all > 0 && all % each == 0 ? Value(all / each) : std::nullopt;
}
Value shared_expert_width(const DescribedModel& model) {
    const bool any = model.mixture != nullptr && model.mixture->shared_width > 0;
    return any ? Value(model.mixture->shared_width) : std::nullopt;
}
// The layers in front of the first mixture.
Value first_mixture_layer(const DescribedModel& model) {
    if (model.mixture == nullptr) return std::nullopt;
    const auto& layers = model.config.layers;
    return int64_t{
        std::find_if(layers.begin(), layers.end(), [](const auto& one) { return one.mixture() != nullptr; }) -
        layers.begin()};
}

bool is_delta(const LayerSpec& layer) { return layer.delta() != nullptr; }
Value recurrent_layers(const DescribedModel& model) {
    return model.delta != nullptr ? Value(whether_each_layer(model, is_delta)) : std::nullopt;
}
// The first layer that attends, if every so many-th does.
Value attention_interval(const DescribedModel& model) {
    if (model.delta == nullptr) return std::nullopt;
    const auto& layers = model.config.layers;
    const int64_t interval = std::find_if_not(layers.begin(), layers.end(), is_delta) - layers.begin() + 1;
    for (int64_t i = 0; i < std::ssize(layers); ++i)
        if (is_delta(layers[static_cast<size_t>(i)]) != ((i + 1) % interval != 0)) return std::nullopt;
    return interval;
}

const RecurrenceHeads* recurrence(const DescribedModel& model) {
    if (model.delta != nullptr) return &model.delta->heads;
    return model.space != nullptr ? &model.space->heads : nullptr;
}
Value recurrence_key_heads(const DescribedModel& model) {
    return recurrence(model) != nullptr ? Value(int64_t{recurrence(model)->key_heads}) : std::nullopt;
}
Value recurrence_value_heads(const DescribedModel& model) {
    return recurrence(model) != nullptr ? Value(int64_t{recurrence(model)->value_heads}) : std::nullopt;
}
Value recurrence_key_width(const DescribedModel& model) {
    return recurrence(model) != nullptr ? Value(int64_t{recurrence(model)->key_width}) : std::nullopt;
}
// The elements of all value heads.
Value recurrence_values(const DescribedModel& model) {
    const RecurrenceHeads* heads = recurrence(model);
    return heads != nullptr ? Value(int64_t{heads->value_heads} * heads->value_width) : std::nullopt;
}
Value recurrence_taps(const DescribedModel& model) {
    if (model.delta != nullptr) return int64_t{model.delta->taps};
    return model.space != nullptr ? Value(int64_t{model.space->taps}) : std::nullopt;
}

constexpr GgufLaw kLayerLaws[] = {
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

}  // namespace

std::span<const GgufLaw> gguf_layer_laws() { return kLayerLaws; }

}  // namespace invar
