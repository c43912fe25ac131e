// Reads the config of the decoder families here, whatever the dialect (hyperparameters.h). A number that gives meaning
// to the weights is read, or the checkpoint is refused. One number is inferred: the width of a head, in files written
// before its key existed, is taken from a tensor's shape, cross-checked, and noted.
#pragma once

#include <string_view>

#include "files/checkpoint.h"
#include "models/config.h"

namespace invar {

Result<ModelConfig> read_decoder_config(const Checkpoint& checkpoint, std::string_view architecture);
// Fails if the config has a mixture of experts.
Result<ModelConfig> read_dense_config(const Checkpoint& checkpoint, std::string_view architecture);

}  // namespace invar
