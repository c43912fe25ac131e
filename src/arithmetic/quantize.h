// How activations become integers: docs/arithmetic.md, section 1. Every activation quantiser in cpu/ and cuda/ must
// equal quantize_row bit for bit. What the integers are multiplied with is in formats/NAME/NAME.h.
#pragma once

#include <cstdint>

#include "arithmetic/dot.h"

namespace invar {

// A block whose largest magnitude is below this becomes zero: 127 / amax would overflow below 3.7e-37, and values that
// small have no use.
inline constexpr float kZeroBlockBelow = 1e-30f;

// Quantises `count` values (a multiple of 32) to count / 32 blocks:
//   amax = max |x_i|;  d = amax / 127;  q_i = rint(x_i * (127 / amax)), ties to even;  sum = sum of q_i;  sx = d *
//   float(sum)
// amax < 1e-30: q = 0, d = 0, sum = 0, sx = 0.
// A NaN or an infinity among the 32: q = 0, sum = 0, and d = sx = NaN, so that every product with the block is NaN and
// the forward pass reports it (docs/arithmetic.md, ground rules).
void quantize_row(const float* x, int64_t count, QuantizedBlock* out);

}  // namespace invar
