// LongRoPE (Ding et al. 2024, arXiv 2402.13753): a model has two frequency factors for each pair of rope, one for
// contexts up to the length that it was trained for first, and one for longer ones. A sequence must use the same
// frequencies from its first position to its last, because its cached keys are rotated. So one choice is made for a
// whole engine, by its context: positions 0 to context - 1 all use the long factors if the context is longer than the
// original one, and the short factors otherwise.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "models/config.h"
#include "models/hyperparameters.h"

namespace invar {

// Whether the checkpoint has both factors: as tensors rope_factors_short.weight and rope_factors_long.weight of a GGUF
// file, or as lists under a rope scaling of type longrope (su, and yarn in Phi-3's first files).
bool has_long_rope(const Hyperparameters& keys, std::string_view scaling);
// Fills both, the original context and the attention factor, which is rounded to binary32 in every dialect. The rope is
// not scaled otherwise.
Result<void> read_long_rope(const Hyperparameters& keys, RopeSpec& rope, ModelConfig& config);

// Chooses between the two for a context and says so in config.notes. Call it before a model is built. Without LongRoPE
// nothing changes.
void choose_for_context(ModelConfig& config, int64_t context);
// The choice, for digests of cached keys: ", long rope"; "" without LongRoPE.
std::string chosen_rope(const ModelConfig& config);

}  // namespace invar
