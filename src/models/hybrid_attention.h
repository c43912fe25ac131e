// Reads the attention of models in which only some layers attend, and all of these alike: Granite 4 and LFM2. GGUF
// files have 0 KV heads for the other layers.
#pragma once

#include <vector>

#include "base/result.h"
#include "models/config.h"
#include "models/hyperparameters.h"

namespace invar {

// Whether each layer of a GGUF file attends.
Result<std::vector<bool>> read_attending_layers(const Hyperparameters& keys, size_t layers);

// Heads and widths of the attending layers, of which `layer` is the first; without a rope, and with scale 1 / sqrt(key
// width). Errors: two of them have different numbers of heads, or the first number is no multiple of the second.
Result<AttentionGeometry> read_hybrid_attention(const Hyperparameters& keys, const std::vector<bool>& attending,
                                                ModelConfig& config);

}  // namespace invar
