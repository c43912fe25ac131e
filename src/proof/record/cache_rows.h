// Reads and writes keys and values of the KV cache as rows of one head, whatever type they are stored in. Observers
// read them, and the float64 reference writes them so that observers can. Kernels access the cache on their own (cpu/).
#pragma once

#include <cstdint>

#include "state/sequence_state.h"

namespace invar {

struct CachePlace {
    int layer = 0;
    int32_t sequence = 0;
    int64_t position = 0;  // must be reserved in the cache
    int head = 0;          // a KV head
};

// The value that the cache returns after `value` was stored.
float rounded_to(CacheType type, float value);
// The stored values, which binary32 holds exactly. out: [key_width] or [value_width] of the layer.
void read_key(const SequenceState& cache, const CachePlace& place, float* out);
void read_value(const SequenceState& cache, const CachePlace& place, float* out);
// Rounds to the cache's type. Where values lie in keys, write_value() changes the key.
void write_key(SequenceState& cache, const CachePlace& place, const float* key);
void write_value(SequenceState& cache, const CachePlace& place, const float* value);

}  // namespace invar
