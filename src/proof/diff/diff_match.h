// Which tensor of one checkpoint is which of another: matched one to one by what the model declares, never by guessing
// from names; and what the two files say differently of the same model. It reads no weight.
#pragma once

#include <string>
#include <vector>

#include "checkpoint/binding.h"

namespace invar {

struct MatchedTensor {
    WeightId id;
    StoredWeight a, b;
    int64_t head_width = 0;  // rows belong to heads of so many; 0: to none
    // Rows of tokens may be padded in one file: the first that both have are compared.
    int64_t rows = 0;
    std::vector<std::string> transforms;  // "tied to token_embedding in B"; none: the same tensor
};

struct CheckpointMatch {
    ModelConfig a, b;
    std::vector<MatchedTensor> pairs;          // as declared
    std::vector<std::string> missing;          // sentences: wanted tensors that one file lacks, or of other shapes
    std::vector<std::string> extra;            // sentences: tensors that the model does not use
    std::vector<std::string> hyperparameters;  // sentences: numbers that change what the model computes
    std::vector<std::string> notes;            // other differences, harmless by themselves
};

// Errors: a file whose architecture is unknown or whose hyper-parameters cannot be read; different architectures.
Result<CheckpointMatch> match_checkpoints(const Checkpoint& a, const Checkpoint& b);

}  // namespace invar
