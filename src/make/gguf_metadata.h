// The metadata keys that describe a model to who reads a GGUF file, from the model as it is said in models/config.h.
#pragma once

#include "base/result.h"
#include "files/checkpoint.h"
#include "files/gguf_writer.h"
#include "models/config.h"

namespace invar {

// Errors: what GGUF has no key for (layers that differ in kind, several ropes).
Result<void> add_model_metadata(const Checkpoint& checkpoint, const ModelConfig& config, GgufWriter& writer);

}  // namespace invar
