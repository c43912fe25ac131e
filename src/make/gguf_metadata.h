// Writes the metadata keys that describe a model to readers of a GGUF file, from its description in models/config.h.
#pragma once

#include "base/result.h"
#include "files/checkpoint.h"
#include "files/gguf_writer.h"
#include "models/config.h"

namespace invar {

// Fails on models for which GGUF has no keys (layers that differ in kind, several ropes).
Result<void> add_model_metadata(const Checkpoint& checkpoint, const ModelConfig& config, GgufWriter& writer);

}  // namespace invar
