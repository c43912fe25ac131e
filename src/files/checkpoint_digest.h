// The identity of a checkpoint's bytes, for reports, recordings and states that must belong to the same model.
#pragma once

#include <string>

#include "base/result.h"
#include "files/checkpoint.h"

namespace invar {

// Of everything that is taken: of GGUF files their bytes one behind the other, of a directory weights, configs and the
// files beside them (base/hash.h). Reads every byte, and lets go of their pages.
Result<std::string> digest_of(const Checkpoint& checkpoint);

}  // namespace invar
