// Computes the identity of a checkpoint's bytes, for reports, recordings and states that must belong to the same model.
#pragma once

#include <string>

#include "base/result.h"
#include "files/checkpoint.h"

namespace invar {

// The digest of everything that is taken: the bytes of GGUF files one after the other, or a directory's weights,
// configs and the files beside them (base/hash.h). It reads every byte and then releases the pages.
Result<std::string> digest_of(const Checkpoint& checkpoint);

}  // namespace invar
