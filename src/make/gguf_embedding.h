// What a GGUF file says of a model's vectors (embed/embedding_config.h): the pooling type and the sizes of dense layers
// behind it. What GGUF has no key for is refused, because readers would make other vectors without a word.
#pragma once

#include "base/result.h"
#include "files/checkpoint.h"
#include "files/gguf_writer.h"
#include "models/config.h"

namespace invar {

// Writes nothing for a directory that does not say how it pools. Errors: modes other than mean, cls and last; a dense
// layer with a bias or an activation, or more of them than GGUF has names for. The result is notes on what the file
// cannot say.
Result<std::vector<std::string>> add_embedding_keys(const Checkpoint& checkpoint, const ModelConfig& config,
                                                    GgufWriter& writer);

}  // namespace invar
