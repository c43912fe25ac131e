// Shared by the exhaustive sweep (elementary_exhaustive_test.cpp) and its copy compiled for AVX2 and FMA, in which the
// compiler runs eight lanes of the law's own steps at once: 2^32 arguments then take seconds instead of minutes.
#pragma once

#include <cstdint>

namespace invar {

enum class Elementary { exp, tanh, sigmoid, silu, gelu_tanh, gelu, softplus };

// A constant, so that the loops are vectorised at -O2 too.
inline constexpr int kSweepBatch = 4096;

// results[i] = function(the binary32 whose bits are first + i), for i < kSweepBatch.
void evaluate_avx2(Elementary function, uint32_t first, float* results);

}  // namespace invar
