// Mistral's own layout: which keys of params.json are understood. A key that is not could change what the model
// computes, so it is refused by name. What the understood ones mean is in hyperparameter_tables.cpp, what the object
// `quantization` may say in checkpoint/quantization_config.h.
#pragma once

#include "base/result.h"
#include "files/checkpoint.h"

namespace invar {

// Errors name the key. A key that is null says nothing.
Result<void> check_mistral_params(const Checkpoint& checkpoint);

}  // namespace invar
