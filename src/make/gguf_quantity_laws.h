// How a law of a quantity looks at a model, and the tables of laws: for gguf_quantities.cpp, which uses them, and the
// files that have them. A law gives nothing where the model has no such quantity.
#pragma once

#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "make/gguf_quantities.h"
#include "models/hyperparameters.h"

namespace invar {

// A model as the laws look at it: the first layer of each kind, which stands for all of the kind. Whether that is true
// is found out when the file is read again (gguf_hyperparameters.h).
struct DescribedModel {
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

using GgufLawValue = std::optional<GgufValue>;

struct GgufLaw {
    std::string_view word;
    GgufLawValue (*of)(const DescribedModel& model);
};
std::span<const GgufLaw> gguf_attention_laws();  // attention and ropes
std::span<const GgufLaw> gguf_layer_laws();      // feed-forward parts and recurrences

// A number for each layer.
template <class Of>
GgufValue for_each_layer(const DescribedModel& model, const Of& of) {
    std::vector<int64_t> numbers;
    for (const LayerSpec& layer : model.config.layers) numbers.push_back(of(layer));
    return numbers;
}

template <class Of>
GgufValue whether_each_layer(const DescribedModel& model, const Of& of) {
    std::vector<bool> truths;
    for (const LayerSpec& layer : model.config.layers) truths.push_back(of(layer));
    return truths;
}

}  // namespace invar
