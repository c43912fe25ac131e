// The elementary functions of the law in binary32, defined step by step in docs/arithmetic.md, section 3. They use no
// tables, no libm function but the exact fma, and selects in place of branches, so that SIMD and CUDA copies give the
// same bits. Errors are swept over all 2^32 inputs (tests/arithmetic/elementary_exhaustive_test.cpp). Constants:
// elementary_constants.h.
//
// NaN gives NaN (sign and payload are not defined). Subnormal inputs and results are kept; the ulp of a subnormal is
// 2^-149.
#pragma once

namespace invar::law {

// At most 1 ulp. Overflows to +inf above 88.7228; exp(-inf) = 0.
float exp(float x);

// At most 2 ulp. tanh(-x) = -tanh(x) to the bit; +-1 from |x| = 9.02.
float tanh(float x);

// 1 / (1 + exp(-x)), computed as 1 / (2^m + exp(r)) * 2^m so that nothing overflows. At most 2 ulp.
float sigmoid(float x);

// x / (1 + exp(-x)), computed like sigmoid. At most 2 ulp; silu(-inf) = -0.
float silu(float x);

// x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))), computed without its cancellation. At most 2 ulp.
float gelu_tanh(float x);

// x / 2 (1 + erf(x / sqrt(2))). At most 2 ulp; gelu(-inf) = -0.
float gelu(float x);

// log(1 + exp(x)). At most 2 ulp.
float softplus(float x);

}  // namespace invar::law
