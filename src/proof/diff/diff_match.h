// Matches the tensors of two checkpoints one to one, by what the model declares and never by guessing from names, and
// lists what the two files say differently about the model. It reads no weight.
#pragma once

#include <string>
#include <vector>

#include "checkpoint/binding.h"

namespace invar {

struct MatchedTensor {
    WeightId id;
    StoredWeight a, b;
    int64_t head_width = 0;  // rows per head; 0: the rows belong to no head
    // How many rows are compared. A token table may be padded in one file; then it is the first rows, which both have.
    int64_t rows = 0;
    std::vector<std::string> transforms;  // how they correspond, e.g. "tied to token_embedding in B"; empty: directly
};

struct CheckpointMatch {
    ModelConfig a, b;
    std::vector<MatchedTensor> pairs;          // in the order of declaration
    std::vector<std::string> missing;          // sentences: wanted tensors that a file lacks or has in another shape
    std::vector<std::string> extra;            // sentences: tensors that the model does not use
    std::vector<std::string> hyperparameters;  // sentences: numbers that change what the model computes
    std::vector<std::string> notes;            // sentences: other differences, harmless by themselves
};

// Errors: a file's architecture is unknown, its hyper-parameters cannot be read, or the architectures differ.
Result<CheckpointMatch> match_checkpoints(const Checkpoint& a, const Checkpoint& b);

}  // namespace invar
