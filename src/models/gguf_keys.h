// Decides what a GGUF file's keys of its architecture mean for a model whose reader did not ask for them: nothing, or
// that the model computes something else than what is computed here. config_json.h decides the same for directories.
#pragma once

#include "base/result.h"
#include "files/checkpoint.h"
#include "models/config.h"
#include "models/hyperparameters.h"

namespace invar {

// For GGUF files. `asked`: the words that the architecture's reader asked for when it made `config`. A key that it did
// not ask for must have a value that changes nothing, or the file is refused by key and value. A key that is not known
// here at all gets a note, because converters write keys for other programs.
Result<void> check_gguf_keys(const Checkpoint& checkpoint, const AskedWords& asked, ModelConfig& config);

}  // namespace invar
