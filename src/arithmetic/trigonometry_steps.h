// sin and cos of binary64 angles and the logarithm, step by step. The host (trigonometry.h) and device code share this
// copy, so that rope tables and position scales made on a device have the same bits. Callers check that
// |x| <= kAngleLimit, and that the argument of a logarithm is positive, finite and normal. The coefficients come from
// tools/fixtures/arithmetic.py (`coefficients`).
#pragma once

#include <cstdint>

#include "arithmetic/device.h"

namespace invar::law::steps64 {

// 1.5 * 2^52: adding it to |t| < 2^51 rounds t to an integer, ties to even, and leaves it in the low bits.
inline constexpr double kShift = 6755399441055744.0;
inline constexpr int64_t kShiftBits = 0x4338000000000000;

inline constexpr double kTwoOverPi = 0x1.45f306dc9c883p-1;
inline constexpr double kHalfPi1 = 0x1.921fb54442d18p+0, kHalfPi2 = 0x1.1a62633145c07p-54;
inline constexpr double kHalfPi3 = -0x1.f1976b7ed8fbcp-110;
inline constexpr double kLn2High = 0x1.62e42fefa2p-1, kLn2Low = 0x1.9ef35793c7673p-41;  // high: 40 bits, n * high is
                                                                                        // exact
inline constexpr double kSqrt2 = 0x1.6a09e667f3bcdp+0;

INVAR_DEVICE static inline double fma(double a, double b, double c) { return __builtin_fma(a, b, c); }

// Horner's rule in fma, from the highest order.
template <int kTerms>
INVAR_DEVICE static inline double polynomial(const double (&coefficients)[kTerms], double x) {
    double p = coefficients[kTerms - 1];
    for (int i = kTerms - 2; i >= 0; --i) p = fma(p, x, coefficients[i]);
    return p;
}

// An unevaluated sum of two numbers; low is below an ulp of high.
struct Double2 {
    double high;
    double low;
};

// a + b exactly (Knuth).
INVAR_DEVICE static inline Double2 two_sum(double a, double b) {
    const double sum = a + b;
    const double part = sum - a;
    return {sum, (a - (sum - part)) + (b - part)};
}

INVAR_DEVICE static inline int64_t shifted_integer(double shifted) {
    return __builtin_bit_cast(int64_t, shifted) - kShiftBits;
}

struct Angle {
    Double2 r;     // in [-pi/4, pi/4]
    int quadrant;  // 0 to 3
};

// x = n pi/2 + r. The first fma is exact: both operands are multiples of 2^-52 or of ulp(x), and what is left is small.
INVAR_DEVICE static inline Angle reduce(double x) {
    const double shifted = fma(x, kTwoOverPi, kShift);
    const double n = shifted - kShift;
    const double first = fma(-n, kHalfPi1, x);
    const double second = n * kHalfPi2;
    const double second_low = fma(n, kHalfPi2, -second);
    Double2 r = two_sum(first, -second);
    r.low = fma(-n, kHalfPi3, r.low - second_low);
    return {r, static_cast<int>(shifted_integer(shifted) & 3)};
}

INVAR_DEVICE static inline double sin_of_reduced(Double2 r) {
    // Lowest order first; error 4e-18 relative to the function.
    constexpr double kSin[] = {-0x1.5555555555548p-3, 0x1.111111110f730p-7,   -0x1.a01a019be921fp-13,
                               0x1.71de35552c31dp-19, -0x1.ae5e4b84e0399p-26, 0x1.5d8b55f0bd1d1p-33};
    const double square = r.high * r.high;
    const double tail = (r.high * square) * polynomial(kSin, square);
    return r.high + fma(r.low, fma(-0.5, square, 1.0), tail);
}

INVAR_DEVICE static inline double cos_of_reduced(Double2 r) {
    // Lowest order first; absolute error 5e-20.
    constexpr double kCos[] = {0x1.555555555554cp-5,   -0x1.6c16c16c1521dp-10, 0x1.a01a019cbf0d1p-16,
                               -0x1.27e4f81264f23p-22, 0x1.1ee9f11053d04p-29,  -0x1.8fb109f470693p-37};
    const double square = r.high * r.high;
    const double half = 0.5 * square;
    const double head = 1.0 - half;
    const double tail = fma(square * square, polynomial(kCos, square), -(r.high * r.low));
    return head + (((1.0 - head) - half) + tail);
}

INVAR_DEVICE static inline double sin_of(double x) {
    const Angle angle = reduce(x);
    const double value = angle.quadrant & 1 ? cos_of_reduced(angle.r) : sin_of_reduced(angle.r);
    return angle.quadrant & 2 ? -value : value;
}

INVAR_DEVICE static inline double cos_of(double x) {
    const Angle angle = reduce(x);
    const double value = angle.quadrant & 1 ? sin_of_reduced(angle.r) : cos_of_reduced(angle.r);
    return angle.quadrant == 1 || angle.quadrant == 2 ? -value : value;
}

INVAR_DEVICE static inline Double2 log_of(double x) {
    // Lowest order first; error 2e-20 relative to the function.
    constexpr double kLog[] = {0x1.5555555555555p-1, 0x1.9999999999c74p-2, 0x1.249249244f921p-2,
                               0x1.c71c72254b438p-3, 0x1.745cf2920b06ep-3, 0x1.3b1bff17710fdp-3,
                               0x1.0ffc1bd82186ep-3, 0x1.03faddbb63147p-3, 0x1.5bc40ed045477p-5};
    const uint64_t bits = __builtin_bit_cast(uint64_t, x);
    int64_t k = static_cast<int64_t>(bits >> 52) - 1023;
    double m = __builtin_bit_cast(double, (bits & 0x000fffffffffffffull) | 0x3ff0000000000000ull);
    if (m > kSqrt2) {
        m = 0.5 * m;
        k = k + 1;
    }
    // log(m) = 2 atanh(s), s = (m - 1) / (m + 1) as high + low.
    const double above = m - 1.0;  // exact
    const Double2 below = two_sum(m, 1.0);
    const double s = above / below.high;
    const double s_low = fma(-s, below.low, fma(-s, below.high, above)) / below.high;
    const double square = s * s;
    const double tail = fma(s * square, polynomial(kLog, square), 2.0 * s_low);
    const double n = static_cast<double>(k);
    const Double2 head = two_sum(n * kLn2High, 2.0 * s);
    const double rest = head.low + fma(n, kLn2Low, tail);
    return two_sum(head.high, rest);
}

}  // namespace invar::law::steps64
