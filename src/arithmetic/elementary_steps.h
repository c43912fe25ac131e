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

INVAR_DEVICE static inline float normal_polynomial(float square) {
    float h = kNormalN9;
    h = fma(h, square, kNormalN7);
    h = fma(h, square, kNormalN5);
    h = fma(h, square, kNormalN3);
    return fma(h, square, kNormalN1);
}

// u1 + u2 v + ... + u9 v^8
INVAR_DEVICE static inline float normal_tail_slope(float v) {
    float p = kNormalU9;
    p = fma(p, v, kNormalU8);
    p = fma(p, v, kNormalU7);
    p = fma(p, v, kNormalU6);
    p = fma(p, v, kNormalU5);
    p = fma(p, v, kNormalU4);
    p = fma(p, v, kNormalU3);
    p = fma(p, v, kNormalU2);
    return fma(p, v, kNormalU1);
}

INVAR_DEVICE static inline float gelu(float x) {
    const float magnitude = __builtin_fabsf(x);
    const float a = magnitude > kNormalHighest ? kNormalHighest : magnitude;  // a NaN stays
    const float square = a * a;
    const float small = x * fma(x, normal_polynomial(square), 0.5f);
    // v (1 + error) is 1 / (a + 2) almost exactly.
    const float sum = a + 2.0f;
    const float sum_low = a - (sum - 2.0f);
    const float v = 1.0f / sum;
    const float error = fma(-sum_low, v, fma(-sum, v, 1.0f));
    // This is reduce(-a^2 / 2), with what a^2 lost and the error of v added where r is still exact.
    const float half = -0.5f * square;
    const float half_low = -0.5f * fma(a, a, -square);
    const float shifted = fma(half, kLog2E, kRoundingShift);
    const float n = shifted - kRoundingShift;
    const float r = fma(n, -kLn2High, half) + fma(kNormalSlope, error, fma(n, -kLn2Low, half_low));
    const float slope = exp_slope(r);
    const float t = slope * r;  // exp(r) - 1
    const float t_low = fma(slope, r, -t);
    // a v (u0 + u1 v + ...) as w + w_low, and that times 1 + t.
    const float p = normal_tail_slope(v);
    const float u = fma(p, v, kNormalU0);
    const float u_low = fma(p, v, kNormalU0 - u);
    const float z = a * v;
    const float z_low = fma(a, v, -z);
    const float w = z * u;
    const float w_low = fma(z, u_low, fma(u, z_low, fma(z, u, -w)));
    const float product = w + fma(w, t, fma(w, t_low, fma(w_low, t, w_low)));
    const int32_t exponent = static_cast<int32_t>(as_bits(shifted) - kRoundingShiftBits);
    const int32_t exponent_half = exponent >> 1;
    const float tail = product * power_of_two(exponent_half) * power_of_two(exponent - exponent_half);
    const float large = x > 0.0f ? x - tail : -tail;
    return a < kNormalSmall ? small : large;
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
