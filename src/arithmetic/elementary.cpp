// The elementary functions, one operation a line where the order matters. A vector copy translates these lines lane by
// lane; the reasons for the steps are in docs/arithmetic.md, section 3.
#include "arithmetic/elementary.h"

#include <bit>
#include <cmath>
#include <cstdint>

#include "arithmetic/elementary_constants.h"

namespace invar::law {
namespace {

// 2^k for -126 <= k <= 127. (Any other k, which only a NaN argument brings here, gives some float.)
float power_of_two(int32_t k) { return std::bit_cast<float>(static_cast<uint32_t>(k + 127) << 23); }

// x = n ln2 + r, |r| <= ln(2) / 2 (and a little).
struct Reduced {
    int32_t n;
    float r;
};

Reduced reduce(float x) {
    const float shifted = std::fma(x, kLog2E, kRoundingShift);
    const float n = shifted - kRoundingShift;
    float r = std::fma(n, -kLn2High, x);
    r = std::fma(n, -kLn2Low, r);
    return {static_cast<int32_t>(std::bit_cast<uint32_t>(shifted) - kRoundingShiftBits), r};
}

float exp_of_reduced(Reduced reduced) {
    const float r = reduced.r;
    float p = kExpC6;
    p = std::fma(p, r, kExpC5);
    p = std::fma(p, r, kExpC4);
    p = std::fma(p, r, kExpC3);
    p = std::fma(p, r, kExpC2);
    p = std::fma(p, r, 1.0f);
    p = std::fma(p, r, 1.0f);
    // n is in [-150, 128]. Two factors keep both powers normal; only the last product can round.
    const int32_t half = reduced.n >> 1;
    return p * power_of_two(half) * power_of_two(reduced.n - half);
}

float clamp_exp_argument(float x) {
    x = x > kExpHighest ? kExpHighest : x;  // a NaN fails both comparisons and stays
    return x < kExpLowest ? kExpLowest : x;
}

}  // namespace

float exp(float x) { return exp_of_reduced(reduce(clamp_exp_argument(x))); }

float sigmoid(float x) { return 1.0f / (1.0f + exp(-x)); }

float silu(float x) { return x / (1.0f + exp(-x)); }

float tanh(float x) {
    const float magnitude = std::fabs(x);
    const float a = magnitude > kTanhHighest ? kTanhHighest : magnitude;
    const Reduced reduced = reduce(a + a);
    const float r = reduced.r;
    float q = kExpm1D7;
    q = std::fma(q, r, kExpm1D6);
    q = std::fma(q, r, kExpm1D5);
    q = std::fma(q, r, kExpm1D4);
    q = std::fma(q, r, kExpm1D3);
    q = std::fma(q, r, kExpm1D2);
    const float p = std::fma(r * r, q, r);  // exp(r) - 1
    const float scale = power_of_two(reduced.n);
    const float e = std::fma(scale, p, scale - 1.0f);  // exp(2 a) - 1
    return std::copysign(e / (e + 2.0f), x);
}

float gelu_tanh(float x) {
    float c = x > kGeluInner ? kGeluInner : x;
    c = c < -kGeluInner ? -kGeluInner : c;
    // w = a + b c^2 and v = c w to about 45 bits, as high + low: an error in v is multiplied by v in exp(v), and |v|
    // reaches 88.
    const float square = c * c;
    const float square_low = std::fma(c, c, -square);
    const float cubic = kGeluCubicHigh * square;
    float cubic_low = std::fma(kGeluCubicHigh, square, -cubic);
    cubic_low = std::fma(kGeluCubicHigh, square_low, cubic_low);
    cubic_low = std::fma(kGeluCubicLow, square, cubic_low);
    const float w = kGeluLinearHigh + cubic;
    const float part = w - kGeluLinearHigh;
    const float w_low = ((kGeluLinearHigh - (w - part)) + (cubic - part)) + (cubic_low + kGeluLinearLow);
    const float v = c * w;
    const float v_low = std::fma(c, w_low, std::fma(c, w, -v));
    Reduced reduced = reduce(clamp_exp_argument(v));
    reduced.r = reduced.r + v_low;
    return x / (1.0f + exp_of_reduced(reduced));
}

float softplus(float x) {
    const float e = exp(-std::fabs(x));
    float g = kLog1pG10;
    g = std::fma(g, e, kLog1pG9);
    g = std::fma(g, e, kLog1pG8);
    g = std::fma(g, e, kLog1pG7);
    g = std::fma(g, e, kLog1pG6);
    g = std::fma(g, e, kLog1pG5);
    g = std::fma(g, e, kLog1pG4);
    g = std::fma(g, e, kLog1pG3);
    g = std::fma(g, e, kLog1pG2);
    g = std::fma(g, e, kLog1pG1);
    g = std::fma(g, e, kLog1pG0);
    return std::fma(e, g, x > 0.0f ? x : 0.0f);
}

}  // namespace invar::law
