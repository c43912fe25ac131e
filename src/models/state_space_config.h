// Reads the geometry of Mamba 2 layers, which Nemotron-H and Granite's hybrids share.
#pragma once

#include <string_view>

#include "base/result.h"
#include "models/config.h"
#include "models/hyperparameters.h"

namespace invar {

// Heads, groups, states and taps. A file that limits time steps is refused: transformers applies its own minimum to
// prompts but not to single tokens, so that it disagrees with itself, and published models have no limit.
Result<StateSpaceGeometry> read_state_space(const Hyperparameters& keys, const ModelConfig& config);

// Fails if config.json says that convolutions have biases and a layer lacks its tensor, or the other way round.
// `hugging_face` is the tensor's name in a layer. config.layers must be there.
Result<void> check_convolution_biases(const Hyperparameters& keys, const ModelConfig& config,
                                      std::string_view hugging_face);

}  // namespace invar
