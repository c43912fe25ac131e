// The supported architectures, one line each; each is defined in the file of its name.
#pragma once

#include "models/architecture.h"

namespace invar {

extern const Architecture kLlamaArchitecture;
extern const Architecture kQwen2Architecture;
extern const Architecture kQwen3Architecture;
extern const Architecture kQwen3MoeArchitecture;

}  // namespace invar
