// The reduce law (docs/arithmetic.md, section 2): 256 lanes in order, folded in halves. It serves norms, softmax and
// sampling; matrix products and attention have orders of their own (dot.h, attention.h).
#pragma once

#include <cstdint>

namespace invar::law {

inline constexpr int kReduceLanes = 256;

// Lane j starts at +0 and takes t[j], t[j + 256], ... in order (a = a + t). Then lane j takes lane j + 128 (j < 128),
// j + 64 (j < 64), ..., j + 1. Lanes without elements stay +0, so n may be anything >= 0.
float sum(const float* t, int64_t n);

// The same with a = fma(t, t, a).
float sum_of_squares(const float* t, int64_t n);

}  // namespace invar::law
