// A weight that a model wants: its identity, its shape, and the names and orders of rows under which a checkpoint may
// hold it. checkpoint/binding.h finds out whether a checkpoint does.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "files/checkpoint.h"
#include "files/stored_weight.h"
#include "ops/weight.h"

namespace invar {

enum class WeightShape : uint8_t { vector, matrix, stack };

// Whether a tensor has the columns of a weight as its rows, because its writer multiplies from the other side.
enum class Transposed : uint8_t {
    no,
    yes,
    where_plain,  // if it has plain numbers (F32, F16, BF16); codes with scales beside them are stored by row
};

// How a tensor holds a weight; {}: exactly as it is wanted.
struct HeldAs {
    RowOrder order = {};      // of each matrix's rows within the rows that the tensor has for it
    GroupOrder columns = {};  // of the columns of each row
    int64_t matrix_rows = 0;  // the tensor is one matrix, in which each matrix of the stack has so many rows; 0: it is
                              // a stack itself
    bool part = false;        // the tensor also has rows of other weights, although these are its first
    Transposed transposed = Transposed::no;
    VectorLaw law = VectorLaw::as_stored;
    std::vector<int64_t> shape =
        {};  // that the tensor may have instead, with the numbers in the same sequence: {C, 1, K}
    std::string_view factors =
        {};  // of a stack: a vector with one factor for each matrix; where it is absent, all are 1
};

// One way in which a checkpoint may hold a weight.
struct TensorChoice {
    std::string tensor;  // its name; "{}" in it stands for the number of an expert, which then has a tensor of its own
    HeldAs as = {};
    std::string factors = {};  // the name of the tensor of as.factors
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
    bool read_by_host = false;          // no verb reads it: it stays on the host, as stored
    int64_t head_width = 0;             // its rows belong to heads of so many; 0: to none

    const std::string& tensor() const { return choices.front().tensor; }
};

}  // namespace invar
