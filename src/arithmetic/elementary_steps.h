// The elementary functions, one operation a line where the order matters. A vector copy translates these lines lane by
// lane; the reasons for the steps are in docs/arithmetic.md, section 3. Call the functions of elementary.h; this header
// is for files that want them inlined (a kernel's tail, the exhaustive sweep).
//
// Everything has internal linkage and uses builtins instead of std:: wrappers, so that a file compiled for AVX-512 can
// include this without giving the linker a copy of a shared inline function that other machines cannot execute.
#pragma once

#include <cstdint>

#include "arithmetic/elementary_constants.h"

namespace invar::law::steps {

static inline float fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
static inline float as_float(uint32_t bits) { return __builtin_bit_cast(float, bits); }
static inline uint32_t as_bits(float value) { return __builtin_bit_cast(uint32_t, value); }

// 2^k for -126 <= k <= 127. (Any other k, which only a NaN argument brings here, gives some float.)
static inline float power_of_two(int32_t k) { return as_float(static_cast<uint32_t>(k + 127) << 23); }

// x = n ln2 + r, |r| <= ln(2) / 2 (and a little).
struct Reduced {
    int32_t n;
    float r;
};

static inline Reduced reduce(float x) {
    const float shifted = fma(x, kLog2E, kRoundingShift);
    const float n = shifted - kRoundingShift;
    float r = fma(n, -kLn2High, x);
    r = fma(n, -kLn2Low, r);
    return {static_cast<int32_t>(as_bits(shifted) - kRoundingShiftBits), r};
}

static inline float exp_of_reduced(Reduced reduced) {
    const float r = reduced.r;
    float p = kExpC6;
    p = fma(p, r, kExpC5);
    p = fma(p, r, kExpC4);
    p = fma(p, r, kExpC3);
    p = fma(p, r, kExpC2);
    p = fma(p, r, 1.0f);
    p = fma(p, r, 1.0f);
    // n is in [-150, 128]. Two factors keep both powers normal; only the last product can round.
    const int32_t half = reduced.n >> 1;
    return p * power_of_two(half) * power_of_two(reduced.n - half);
}

static inline float clamp_exp_argument(float x) {
    x = x > kExpHighest ? kExpHighest : x;  // a NaN fails both comparisons and stays
    return x < kExpLowest ? kExpLowest : x;
}

static inline float exp(float x) { return exp_of_reduced(reduce(clamp_exp_argument(x))); }

static inline float sigmoid(float x) { return 1.0f / (1.0f + exp(-x)); }

static inline float silu(float x) { return x / (1.0f + exp(-x)); }

static inline float tanh(float x) {
    const float magnitude = __builtin_fabsf(x);
    const float a = magnitude > kTanhHighest ? kTanhHighest : magnitude;
    const Reduced reduced = reduce(a + a);
    const float r = reduced.r;
    float q = kExpm1D7;
    q = fma(q, r, kExpm1D6);
    q = fma(q, r, kExpm1D5);
    q = fma(q, r, kExpm1D4);
    q = fma(q, r, kExpm1D3);
    q = fma(q, r, kExpm1D2);
    const float p = fma(r * r, q, r);  // exp(r) - 1
    const float scale = power_of_two(reduced.n);
    const float e = fma(scale, p, scale - 1.0f);  // exp(2 a) - 1
    return __builtin_copysignf(e / (e + 2.0f), x);
}

static inline float gelu_tanh(float x) {
    float c = x > kGeluInner ? kGeluInner : x;
    c = c < -kGeluInner ? -kGeluInner : c;
    // w = a + b c^2 and v = c w to about 45 bits, as high + low: an error in v is multiplied by v in exp(v), and |v|
    // reaches 88.
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
    Reduced reduced = reduce(clamp_exp_argument(v));
    reduced.r = reduced.r + v_low;
    return x / (1.0f + exp_of_reduced(reduced));
}

static inline float softplus(float x) {
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
    g = fma(g, e, kLog1pG1);
    g = fma(g, e, kLog1pG0);
    return fma(e, g, x > 0.0f ? x : 0.0f);
}

}  // namespace invar::law::steps
