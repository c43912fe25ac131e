// Which layers of a model have a window, where config.json names the kinds of layers and GGUF files have a list, or
// where both leave it to a period of the family. OLMo 3, EXAONE 4 and Command R7B are read so.
#pragma once

#include <cstdint>
#include <vector>

#include "models/config.h"
#include "models/hyperparameters.h"

namespace invar {

// Sets the windows of all layers, whose mixers are attention. Returns whether each has one; nothing if the model has no
// window at all. Without a list, every `period`-th layer sees all positions.
Result<std::vector<bool>> read_window_pattern(const Hyperparameters& keys, ModelConfig& config, int64_t period);

}  // namespace invar
