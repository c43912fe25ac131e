// What the configs of Granite 3 and Granite 4 have in common: multipliers, and whether positions are rotated.
#pragma once

#include "base/result.h"
#include "models/config.h"
#include "models/hyperparameters.h"

namespace invar {

// Reads the multipliers of embeddings and branches and the divisor of logits; each is 1 where it is absent. Each is
// rounded to binary32 when it is read, because GGUF files hold it so; the division becomes a multiplication by the
// reciprocal, rounded once.
Result<void> read_granite_multipliers(const Hyperparameters& keys, ModelConfig& config);
// Whether positions are rotated: "nope" in config.json says no, and so does an untrained rope in a GGUF file.
// `otherwise` is what a config.json without the key means.
Result<bool> granite_has_rope(const Hyperparameters& keys, bool otherwise);

}  // namespace invar
