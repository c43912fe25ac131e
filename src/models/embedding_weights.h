// The linear layers behind pooling (embed/dense_tensors.h) as weights of the model, so that the binding, the plan, the
// loader and `diff` see them. No verb reads them.
#pragma once

#include <vector>

#include "files/checkpoint.h"
#include "models/wanted_weight.h"

namespace invar {

void declare_dense_layers(const Checkpoint& checkpoint, std::vector<WantedWeight>& wanted);

}  // namespace invar
