// Looks at a model for the laws, and has those of the whole model: see gguf_quantities.h.
#include "make/gguf_quantities.h"

#include <algorithm>

#include "make/gguf_quantity_laws.h"
#include "models/hyperparameter_tables.h"

namespace invar {
namespace {

using Value = GgufLawValue;

DescribedModel describe(const ModelConfig& config, const Hyperparameters& keys) {
    DescribedModel model{.config = config, .keys = keys};
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

Value layers(const DescribedModel& model) { return std::ssize(model.config.layers); }
Value width(const DescribedModel& model) { return model.config.width; }
Value context(const DescribedModel& model) { return model.config.context_length; }
Value vocabulary(const DescribedModel& model) { return model.config.vocabulary; }
Value epsilon(const DescribedModel& model) { return double{model.config.norm_epsilon}; }
Value embedding_scale(const DescribedModel& model) { return double{model.config.embedding_scale}; }
Value residual_scale(const DescribedModel& model) { return double{model.config.residual_scale}; }
Value per_layer_width(const DescribedModel& model) { return model.config.per_layer_width; }
Value logit_softcap(const DescribedModel& model) {
    return model.config.logit_softcap > 0 ? Value(double{model.config.logit_softcap}) : std::nullopt;
}
// Layers that predict further tokens are left out of the file, so that it has none.
Value never(const DescribedModel&) { return std::nullopt; }

constexpr GgufLaw kModelLaws[] = {
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
    {"old rope factor", never},
};

const GgufLaw* find_law(std::string_view word) {
    for (const std::span<const GgufLaw> laws :
         {std::span<const GgufLaw>(kModelLaws), gguf_attention_laws(), gguf_layer_laws()}) {
        const auto found = std::find_if(laws.begin(), laws.end(), [&](const GgufLaw& one) { return one.word == word; });
        if (found != laws.end()) return &*found;
    }
    return nullptr;
}

// The value of a quantity without a law: as the directory states it.
Value as_stated(const DescribedModel& model, std::string_view word) {
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
    const DescribedModel model = describe(config, keys);
    std::vector<GgufQuantity> quantities;
    for (const Word& word : words()) {
        if (word.gguf.empty()) continue;
        const GgufLaw* law = find_law(word.ours);
        Value value = law != nullptr ? law->of(model) : as_stated(model, word.ours);
        if (value) quantities.push_back({word.ours, word.gguf, std::move(*value)});
    }
    return quantities;
}

}  // namespace invar
