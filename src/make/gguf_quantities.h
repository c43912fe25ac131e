// What a GGUF file can say of a model: the numbers of its config under our words (models/hyperparameter_tables.h), each
// in the form that GGUF has for it. A quantity that GGUF expresses as config.json does needs nothing here: its value is
// taken as it is. One that GGUF expresses otherwise, for each layer or as a product of others, has one law here.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "files/checkpoint.h"
#include "models/config.h"

namespace invar {

// Lists of integers and of truth values have one for each layer, but for "rope sections".
using GgufValue = std::variant<int64_t, double, bool, std::string, std::vector<int64_t>, std::vector<bool>>;

struct GgufQuantity {
    std::string_view word;
    std::string_view key;  // behind "<architecture>."
    GgufValue value;
};

// Everything that has a key, whether the readers of this architecture's files know it or not; `config` was read from
// `directory`. What the model has not (a window, experts) is left out.
std::vector<GgufQuantity> gguf_quantities(const Checkpoint& directory, const ModelConfig& config);

}  // namespace invar
