// The elementary functions of the law, binary32, defined step by step in docs/arithmetic.md section 3: no tables, no
// libm but the exact fma, selects in place of branches, so that SIMD and CUDA copies give the same bits. Errors are
// swept over all 2^32 inputs (tests/arithmetic/elementary_exhaustive_test.cpp). Constants: elementary_constants.h.
//
// NaN gives NaN (sign and payload are not defined). Subnormal inputs and results are kept.
#pragma once

namespace invar::law {

// At most 1 ulp. Overflows to +inf above 88.7228; exp(-inf) = 0; results below 2^-126 are rounded once.
float exp(float x);

// At most 2 ulp. tanh(-x) = -tanh(x) to the bit; +-1 from |x| = 9.02.
float tanh(float x);

// 1 / (1 + exp(-x)). At most 2 ulp where exp(-x) is finite; 0 below x = -88.7228 (the truth is under 3e-39).
float sigmoid(float x);

// x / (1 + exp(-x)). At most 2 ulp where exp(-x) is finite; -0 below x = -88.7228 (the truth is above -3e-37);
// silu(-inf) is NaN.
float silu(float x);

// x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))), computed without its cancellation. At most 2 ulp where the inner
// exp is finite; -0 below x = -10.05 (the truth is above -4e-38); gelu_tanh(-inf) is NaN.
float gelu_tanh(float x);

// log(1 + exp(x)). At most 2 ulp.
float softplus(float x);

}  // namespace invar::law
