// A weight that a model wants: its identity, its shape, and the names and orders of rows under which a checkpoint may
// hold it. checkpoint/binding.h finds out whether a checkpoint does.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "files/checkpoint.h"
#include "files/stored_weight.h"
#include "ops/weight.h"

namespace invar {

enum class WeightShape : uint8_t { vector, matrix, stack };

// One way in which a checkpoint may hold a weight.
struct TensorChoice {
    std::string tensor;  // its name; "{}" in it stands for the number of an expert, which then has a tensor of its own
    RowOrder order;      // of each matrix's rows within the rows that the tensor has for it
    VectorLaw law = VectorLaw::as_stored;
};

struct WantedWeight {
    WeightId id;
    WeightShape kind = WeightShape::matrix;
    std::vector<int64_t> shape;         // outermost first: [rows, columns], [experts, rows, columns] or [size]
    std::vector<TensorChoice> choices;  // the first that the checkpoint has is taken
    TensorChoice gguf;                  // how a GGUF file holds it, for writers
    std::optional<WeightId> alias_of;   // same storage as that weight: no tensor of its own, no bytes
    bool looked_up_by_row = false;      // embedding tables: rows are decoded one at a time
    bool makes_logits = false;          // the head
    int64_t head_width = 0;             // its rows belong to heads of so many; 0: to none

    const std::string& tensor() const { return choices.front().tensor; }
};

}  // namespace invar
