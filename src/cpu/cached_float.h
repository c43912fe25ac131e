// The type of an element of the KV cache, for files compiled for an instruction set. They cannot use CacheType
// (arithmetic/attention.h), whose header includes standard containers that such files must not instantiate.
#pragma once

#include <cstdint>

namespace invar {

enum class CachedFloat : uint8_t { f16, bf16, f32 };

}  // namespace invar
