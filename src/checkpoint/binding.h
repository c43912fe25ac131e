// Decides which tensors of a checkpoint are which weights of a model, and proves that this is a bijection. Every wanted
// weight is made of tensors of the right shapes, every row of a tensor is used by one weight, and a tensor that no
// weight uses is ignored by a rule with a reason, or is an error. It reads no weights except the scales of whole
// tensors.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "checkpoint/ignore_rules.h"
#include "models/architecture.h"

namespace invar {

// Tensors that no weight uses, with the rule that allows this.
struct IgnoredTensors {
    std::string rule;     // "*.input_scale"
    std::string because;  // a clause
    int64_t tensors = 0, bytes = 0;
    IgnoreKind kind = IgnoreKind::detail;
};

struct Binding {
    std::vector<StoredWeight> weights;  // as wanted; of an alias without format and matrices
    std::vector<IgnoredTensors> ignored;
};

// Errors name the weight or tensor: missing, unexpected, or both shapes.
Result<Binding> bind_weights(const ModelConfig& config, const std::vector<WantedWeight>& wanted,
                             const Checkpoint& checkpoint);

// Returns how the checkpoint holds one weight that is no alias; nothing if it has none of the tensors.
Result<std::optional<StoredWeight>> find_stored(const WantedWeight& weight, const Checkpoint& checkpoint);

// The tensors that no weight of the model uses and no rule ignores.
std::vector<const TensorInfo*> unused_tensors(const ModelConfig& config, const std::vector<WantedWeight>& wanted,
                                              const Checkpoint& checkpoint);

}  // namespace invar
