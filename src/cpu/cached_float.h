// How an element of the KV cache is stored, in words that files compiled for an instruction set may include: CacheType
// (arithmetic/attention.h) comes with standard containers that such files must not instantiate.
#pragma once

#include <cstdint>

namespace invar {

enum class CachedFloat : uint8_t { f16, bf16, f32 };

}  // namespace invar
