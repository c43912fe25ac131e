// sin, cos, exp, log and pow in binary64. The coefficients come from tools/fixtures/arithmetic.py (`coefficients`).
#include "arithmetic/trigonometry.h"

#include <bit>
#include <cmath>
#include <cstdint>

#include "arithmetic/trigonometry_steps.h"
#include "base/check.h"

namespace invar::law {
namespace {

using steps64::Double2;
using steps64::kShift;
using steps64::polynomial;
using steps64::shifted_integer;
using steps64::two_sum;

constexpr double kLog2E = 0x1.71547652b82fep+0;
constexpr double kLn2High = 0x1.62e42fefa2p-1, kLn2Low = 0x1.9ef35793c7673p-41;  // high: 40 bits, n * high is exact
constexpr double kSqrt2 = 0x1.6a09e667f3bcdp+0;

// Coefficients stand lowest order first. Each error is relative to the function.
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
    CHECK(std::fabs(x) <= kAngleLimit, "an angle is a position below 2^24 times a frequency of at most 2^6");
    return steps64::sin_of(x);
}

double cos64(double x) {
    CHECK(std::fabs(x) <= kAngleLimit, "an angle is a position below 2^24 times a frequency of at most 2^6");
    return steps64::cos_of(x);
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
