// Keys and values of the KV cache as rows of one head, whatever type they are stored in: what observers read, and what
// the float64 reference stores so that observers can. Kernels read the cache by themselves (cpu/).
#pragma once

#include <cstdint>

#include "state/sequence_state.h"

namespace invar {

struct CachePlace {
    int layer = 0;
    int32_t sequence = 0;
    int64_t position = 0;  // reserved in the cache
    int head = 0;          // of the KV heads
};

// The value that the cache gives back for `value`.
float rounded_to(CacheType type, float value);
// Widened exactly. out: [key_width] or [value_width] of the layer.
void read_key(const SequenceState& cache, const CachePlace& place, float* out);
void read_value(const SequenceState& cache, const CachePlace& place, float* out);
// Rounded to the cache's type.
void write_key(SequenceState& cache, const CachePlace& place, const float* key);
void write_value(SequenceState& cache, const CachePlace& place, const float* value);

}  // namespace invar
