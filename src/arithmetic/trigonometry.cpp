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
using steps64::kLn2High;
using steps64::kLn2Low;
using steps64::kShift;
using steps64::polynomial;
using steps64::shifted_integer;

constexpr double kLog2E = 0x1.71547652b82fep+0;

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
    CHECK(std::isnormal(x) && x > 0, "a rope base is positive, finite and normal");
    return steps64::log_of(x);
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
