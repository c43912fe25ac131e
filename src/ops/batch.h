// The input of one forward pass: rows, each a token of some sequence at some position. A chunk of a prompt, one step of
// many sequences, or both together look the same here. The result of a row does not depend on the other rows.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace invar {

struct BatchRow {
    int32_t token = 0;
    int32_t sequence = 0;  // slot in the KV cache
    int64_t position = 0;  // 0 is the first token of the sequence
};

struct Batch {
    std::vector<BatchRow> rows;        // the rows of one sequence are in rising position order
    std::vector<int32_t> logits_rows;  // indices of the rows whose logits are wanted, rising

    int64_t size() const { return static_cast<int64_t>(rows.size()); }
};

// The experts chosen for each row, in rank order. Slot s = row * experts_per_row + rank.
struct ExpertSlots {
    int64_t rows = 0;
    int experts_per_row = 0;
    int32_t* experts = nullptr;  // [rows * experts_per_row]
    float* weights = nullptr;    // [rows * experts_per_row], after renormalisation
    float* margins = nullptr;    // [rows]: probability of the last chosen expert minus that of the best one left out
};

}  // namespace invar
