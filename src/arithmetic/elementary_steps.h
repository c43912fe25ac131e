// The elementary functions, with one operation per line where the order matters. A vector copy translates these lines
// lane by lane; docs/arithmetic.md, section 3, gives the reasons for the steps. Most code calls the functions of
// elementary.h; this header is for files that want them inlined (the tail of a kernel, the exhaustive sweep).
//
// Everything has internal linkage and uses builtins instead of std:: wrappers, so that a file compiled for AVX-512 can
// include this without giving the linker a copy of a shared inline function that other machines cannot execute.
#pragma once

#include <cstdint>

#include "arithmetic/device.h"
#include "arithmetic/elementary_constants.h"

namespace invar::law::steps {

INVAR_DEVICE static inline float fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
INVAR_DEVICE static inline float as_float(uint32_t bits) { return __builtin_bit_cast(float, bits); }
INVAR_DEVICE static inline uint32_t as_bits(float value) { return __builtin_bit_cast(uint32_t, value); }

// 2^k for -126 <= k <= 127. (Any other k, which only a NaN argument brings here, gives some float.)
INVAR_DEVICE static inline float power_of_two(int32_t k) { return as_float(static_cast<uint32_t>(k + 127) << 23); }

// x = n ln2 + r, |r| <= ln(2) / 2 (and a little).
struct Reduced {
    int32_t n;
    float r;
};

INVAR_DEVICE static inline Reduced reduce(float x) {
    const float shifted = fma(x, kLog2E, kRoundingShift);
    const float n = shifted - kRoundingShift;
    float r = fma(n, -kLn2High, x);
    r = fma(n, -kLn2Low, r);
    return {static_cast<int32_t>(as_bits(shifted) - kRoundingShiftBits), r};
}

// (exp(r) - 1) / r
INVAR_DEVICE static inline float exp_slope(float r) {
    float p = kExpC6;
    p = fma(p, r, kExpC5);
    p = fma(p, r, kExpC4);
    p = fma(p, r, kExpC3);
    p = fma(p, r, kExpC2);
    return fma(p, r, 1.0f);
}

INVAR_DEVICE static inline float exp(float x) {
    float c = x > kExpHighest ? kExpHighest : x;  // a NaN fails both comparisons and stays
    c = c < kExpLowest ? kExpLowest : c;
    const Reduced reduced = reduce(c);
    const float p = fma(exp_slope(reduced.r), reduced.r, 1.0f);
    // n is in [-150, 128]. Two factors keep both powers normal; only the last product can round.
    const int32_t half = reduced.n >> 1;
    return p * power_of_two(half) * power_of_two(reduced.n - half);
}

INVAR_DEVICE static inline float tanh(float x) {
    const float magnitude = __builtin_fabsf(x);
    const float a = magnitude > kTanhHighest ? kTanhHighest : magnitude;
    const float square = a * a;
    float q = kTanhT11;
    q = fma(q, square, kTanhT9);
    q = fma(q, square, kTanhT7);
    q = fma(q, square, kTanhT5);
    q = fma(q, square, kTanhT3);
    const float small = fma(a * square, q, a);
    const float large = 1.0f - 2.0f / (exp(a + a) + 1.0f);
    return __builtin_copysignf(a < kTanhSmall ? small : large, x);
}

// Computes numerator / (1 + exp(y)) for y = n ln2 + r with n in [-94, 163]. With m = -n it is numerator / (2^m +
// exp(r)) * 2^m, where nothing overflows. 2^m + exp(r) is summed so that it rounds by little more than half an ulp.
INVAR_DEVICE static inline float logistic(float numerator, Reduced y) {
    const int32_t m = -y.n;
    const int32_t half = m >> 1;
    const float factor = power_of_two(half);
    const float other_factor = power_of_two(m - half);
    const float power = factor * other_factor;  // below 2^-149 it is 0, which 1 + r does not notice
    const float larger = power > 1.0f ? power : 1.0f;
    const float smaller = power > 1.0f ? 1.0f : power;
    const float head = larger + smaller;
    const float lost = smaller - (head - larger);
    const float denominator = head + fma(exp_slope(y.r), y.r, lost);
    return numerator / denominator * factor * other_factor;
}

INVAR_DEVICE static inline float sigmoid(float x) {
    float c = x > kLogisticHighest ? kLogisticHighest : x;
    c = c < kLogisticLowest ? kLogisticLowest : c;
    return logistic(1.0f, reduce(-c));
}

INVAR_DEVICE static inline float silu(float x) {
    const float numerator = x < kLogisticLowest ? kLogisticLowest : x;
    const float c = numerator > kLogisticHighest ? kLogisticHighest : numerator;
    return logistic(numerator, reduce(-c));
}

INVAR_DEVICE static inline float gelu_tanh(float x) {
    const float numerator = x < kGeluLowest ? kGeluLowest : x;
    const float c = numerator > kGeluHighest ? kGeluHighest : numerator;
    // w = a + b c^2 and v = c w to about 45 bits, as high + low: an error in v is multiplied by v in exp(v), and v
    // reaches 100 where the result is not yet 0.
    const float square = c * c;
    const float square_low = fma(c, c, -square);
    const float cubic = kGeluCubicHigh * square;
    float cubic_low = fma(kGeluCubicHigh, square, -cubic);
    cubic_low = fma(kGeluCubicHigh, square_low, cubic_low);
    cubic_low = fma(kGeluCubicLow, square, cubic_low);
    const float w = kGeluLinearHigh + cubic;
    const float part = w - kGeluLinearHigh;
    const float w_low = ((kGeluLinearHigh - (w - part)) + (cubic - part)) + (cubic_low + kGeluLinearLow);
    const float v = c * w;
    const float v_low = fma(c, w_low, fma(c, w, -v));
    // This is reduce(v); v_low is added where r is still exact.
    const float shifted = fma(v, kLog2E, kRoundingShift);
    const float n = shifted - kRoundingShift;
    const float r = fma(n, -kLn2High, v) + fma(n, -kLn2Low, v_low);
    return logistic(numerator, {static_cast<int32_t>(as_bits(shifted) - kRoundingShiftBits), r});
}

INVAR_DEVICE static inline float softplus(float x) {
    const float e = exp(-__builtin_fabsf(x));
    float g = kLog1pG10;
    g = fma(g, e, kLog1pG9);
    g = fma(g, e, kLog1pG8);
    g = fma(g, e, kLog1pG7);
    g = fma(g, e, kLog1pG6);
    g = fma(g, e, kLog1pG5);
    g = fma(g, e, kLog1pG4);
    g = fma(g, e, kLog1pG3);
    g = fma(g, e, kLog1pG2);
    const float logarithm = fma(e * e, g, e);
    return (x > 0.0f ? x : 0.0f) + logarithm;
}

}  // namespace invar::law::steps
