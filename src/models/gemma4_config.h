// The config of Gemma 4: layers of two geometries, some of which attend the keys of an earlier one.
#pragma once

#include "files/checkpoint.h"
#include "models/config.h"

namespace invar {

Result<ModelConfig> read_gemma4_config(const Checkpoint& checkpoint);

}  // namespace invar
