// binary64 sin, cos, exp, log, pow. Coefficients: tools/fixtures/arithmetic.py coefficients.
#include "arithmetic/trigonometry.h"

#include <bit>
#include <cmath>
#include <cstdint>

#include "base/check.h"

namespace invar::law {
namespace {

// 1.5 * 2^52: adding it to |t| < 2^51 rounds t to an integer, ties to even, and leaves it in the low bits.
constexpr double kShift = 6755399441055744.0;

constexpr double kTwoOverPi = 0x1.45f306dc9c883p-1;
constexpr double kHalfPi1 = 0x1.921fb54442d18p+0, kHalfPi2 = 0x1.1a62633145c07p-54, kHalfPi3 = -0x1.f1976b7ed8fbcp-110;
constexpr double kLog2E = 0x1.71547652b82fep+0;
constexpr double kLn2High = 0x1.62e42fefa2p-1, kLn2Low = 0x1.9ef35793c7673p-41;  // high: 40 bits, n * high is exact
constexpr double kSqrt2 = 0x1.6a09e667f3bcdp+0;

// Lowest order first. Errors relative to the function, for sin, exp and log, and absolute for cos.
constexpr double kSin[] = {-0x1.5555555555548p-3, 0x1.111111110f730p-7,   -0x1.a01a019be921fp-13,  // 4e-18
                           0x1.71de35552c31dp-19, -0x1.ae5e4b84e0399p-26, 0x1.5d8b55f0bd1d1p-33};
constexpr double kCos[] = {0x1.555555555554cp-5,   -0x1.6c16c16c1521dp-10, 0x1.a01a019cbf0d1p-16,  // 5e-20
                           -0x1.27e4f81264f23p-22, 0x1.1ee9f11053d04p-29,  -0x1.8fb109f470693p-37};
// exp(r) = 1 + r + r^2 q(r); 2e-17
constexpr double kExp[] = {0x1p-1,
                           0x1.555555555555dp-3,
                           0x1.555555555556cp-5,
                           0x1.111111110e54dp-7,
                           0x1.6c16c16c0a40ap-10,
                           0x1.a01a01b5f3476p-13,
                           0x1.a01a01e9922f8p-16,
                           0x1.71dde9b751a58p-19,
                           0x1.27e43d8adcac6p-22,
                           0x1.af72866b91a45p-26,
                           0x1.1ff95eeb25053p-29};
constexpr double kLog[] = {0x1.5555555555555p-1, 0x1.9999999999c74p-2, 0x1.249249244f921p-2,  // 2e-20
                           0x1.c71c72254b438p-3, 0x1.745cf2920b06ep-3, 0x1.3b1bff17710fdp-3,
                           0x1.0ffc1bd82186ep-3, 0x1.03faddbb63147p-3, 0x1.5bc40ed045477p-5};

// Horner's rule in fma, from the highest order.
template <int kTerms>
double polynomial(const double (&coefficients)[kTerms], double x) {
    double p = coefficients[kTerms - 1];
    for (int i = kTerms - 2; i >= 0; --i) p = std::fma(p, x, coefficients[i]);
    return p;
}

// An unevaluated sum of two numbers; low is below an ulp of high.
struct Double2 {
    double high;
    double low;
};

// a + b exactly (Knuth).
Double2 two_sum(double a, double b) {
    const double sum = a + b;
    const double part = sum - a;
    return {sum, (a - (sum - part)) + (b - part)};
}

int64_t shifted_integer(double shifted) { return std::bit_cast<int64_t>(shifted) - std::bit_cast<int64_t>(kShift); }

struct Angle {
    Double2 r;     // in [-pi/4, pi/4]
    int quadrant;  // 0 to 3
};

// x = n pi/2 + r. The first fma is exact: both operands are multiples of 2^-52 or of ulp(x), and what is left is small.
Angle reduce(double x) {
    CHECK(std::fabs(x) <= kAngleLimit, "an angle is a position below 2^24 times a frequency of at most 2^6");
    const double shifted = std::fma(x, kTwoOverPi, kShift);
    const double n = shifted - kShift;
    const double first = std::fma(-n, kHalfPi1, x);
    const double second = n * kHalfPi2;
    const double second_low = std::fma(n, kHalfPi2, -second);
    Double2 r = two_sum(first, -second);
    r.low = std::fma(-n, kHalfPi3, r.low - second_low);
    return {r, static_cast<int>(shifted_integer(shifted) & 3)};
}

double sin_of_reduced(Double2 r) {
    const double square = r.high * r.high;
    const double tail = (r.high * square) * polynomial(kSin, square);
    return r.high + std::fma(r.low, std::fma(-0.5, square, 1.0), tail);
}

double cos_of_reduced(Double2 r) {
    const double square = r.high * r.high;
    const double half = 0.5 * square;
    const double head = 1.0 - half;
    const double tail = std::fma(square * square, polynomial(kCos, square), -(r.high * r.low));
    return head + (((1.0 - head) - half) + tail);
}

double power_of_two(int64_t k) { return std::bit_cast<double>(static_cast<uint64_t>(k + 1023) << 52); }

double exp_of(Double2 x) {
    CHECK(std::fabs(x.high) <= 700, "exponents of rope bases and YaRN are far below 700");
    const double shifted = std::fma(x.high, kLog2E, kShift);
    const double n = shifted - kShift;
    const double first = std::fma(n, -kLn2High, x.high);  // exact
    const double second = std::fma(n, -kLn2Low, x.low);
    const double r = first + second;
    const double r_low = (first - r) + second;
    const double head = 1.0 + r;
    const double tail = std::fma(r * r, polynomial(kExp, r), head * r_low);
    const double value = head + ((r - (head - 1.0)) + tail);
    return value * power_of_two(shifted_integer(shifted));
}

Double2 log_of(double x) {
    const uint64_t bits = std::bit_cast<uint64_t>(x);
    int64_t k = static_cast<int64_t>(bits >> 52) - 1023;
    CHECK(k > -1023 && k < 1024, "a rope base is positive, finite and normal");
    double m = std::bit_cast<double>((bits & 0x000fffffffffffffull) | 0x3ff0000000000000ull);
    if (m > kSqrt2) {
        m = 0.5 * m;
        k = k + 1;
    }
    // log(m) = 2 atanh(s), s = (m - 1) / (m + 1) as high + low.
    const double above = m - 1.0;  // exact
    const Double2 below = two_sum(m, 1.0);
    const double s = above / below.high;
    const double s_low = std::fma(-s, below.low, std::fma(-s, below.high, above)) / below.high;
    const double square = s * s;
    const double tail = std::fma(s * square, polynomial(kLog, square), 2.0 * s_low);
    const double n = static_cast<double>(k);
    const Double2 head = two_sum(n * kLn2High, 2.0 * s);
    const double rest = head.low + std::fma(n, kLn2Low, tail);
    return two_sum(head.high, rest);
}

}  // namespace

double sin64(double x) {
    const Angle angle = reduce(x);
    const double value = angle.quadrant & 1 ? cos_of_reduced(angle.r) : sin_of_reduced(angle.r);
    return angle.quadrant & 2 ? -value : value;
}

double cos64(double x) {
    const Angle angle = reduce(x);
    const double value = angle.quadrant & 1 ? sin_of_reduced(angle.r) : cos_of_reduced(angle.r);
    return angle.quadrant == 1 || angle.quadrant == 2 ? -value : value;
}

double exp64(double x) { return exp_of({x, 0.0}); }

double log64(double x) { return log_of(x).high; }

double pow64(double base, double exponent) {
    const Double2 logarithm = log_of(base);
    const double high = exponent * logarithm.high;
    const double low = std::fma(exponent, logarithm.low, std::fma(exponent, logarithm.high, -high));
    return exp_of({high, low});
}

}  // namespace invar::law
