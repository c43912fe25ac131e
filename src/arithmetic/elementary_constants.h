// The constants of the binary32 elementary functions, shared by the scalar law (elementary.cpp) and every vector copy.
// All were derived by tools/fixtures/arithmetic.py (`coefficients`); a change of one bit is a new arithmetic version.
// The steps that use them are in docs/arithmetic.md, section 3.
#pragma once

#include <cstdint>

namespace invar::law {

// 1.5 * 2^23: adding it to |t| < 2^22 rounds t to an integer, ties to even, and leaves that integer in the low bits.
inline constexpr float kRoundingShift = 12582912.0f;
inline constexpr uint32_t kRoundingShiftBits = 0x4b400000u;

inline constexpr float kLog2E = 0x1.715476p+0f;
// ln 2 = high + low; high has 14 bits, so that n * high is exact for |n| <= 2^10.
inline constexpr float kLn2High = 0x1.62e4p-1f;
inline constexpr float kLn2Low = 0x1.7f7d1cp-20f;

// exp(88.73) overflows and exp(-103.98) rounds to 0, so the clamps never change a result; they bound the exponent.
inline constexpr float kExpHighest = 89.0f;
inline constexpr float kExpLowest = -104.0f;

// exp(r) ~ 1 + r + r^2 (c2 + c3 r + ... + c6 r^4), |r| <= ln(2) / 2; error of the polynomial 3.2e-9.
inline constexpr float kExpC2 = 0x1.fffffcp-2f;
inline constexpr float kExpC3 = 0x1.55548cp-3f;
inline constexpr float kExpC4 = 0x1.555858p-5f;
inline constexpr float kExpC5 = 0x1.123de0p-7f;
inline constexpr float kExpC6 = 0x1.6ac74ep-10f;

// tanh(x) ~ x + x^3 (t3 + t5 x^2 + ... + t11 x^8), 0 <= x < kTanhSmall; relative error of the polynomial 1.2e-9.
inline constexpr float kTanhT3 = -0x1.55554ap-2f;
inline constexpr float kTanhT5 = 0x1.110ceep-3f;
inline constexpr float kTanhT7 = -0x1.b91e7ep-5f;
inline constexpr float kTanhT9 = 0x1.58e518p-6f;
inline constexpr float kTanhT11 = -0x1.9921a2p-8f;
// From tanh(0.55) = 0.5005 on, the subtraction in 1 - 2 / (exp(2 x) + 1) loses no precision. tanh(9.02) rounds to 1.
inline constexpr float kTanhSmall = 0.55f;
inline constexpr float kTanhHighest = 9.125f;

// The logistic functions clamp x to [-112, 64]: 112 exp(-112) rounds to 0, and 1 + exp(-64) to 1.
inline constexpr float kLogisticLowest = -112.0f;
inline constexpr float kLogisticHighest = 64.0f;

// log(1 + e) ~ e + e^2 (g2 + g3 e + ... + g10 e^8), 0 <= e <= 1, relative error of the polynomial 5.3e-9; for softplus.
inline constexpr float kLog1pG2 = -0x1.ffffd2p-2f;
inline constexpr float kLog1pG3 = 0x1.554dd0p-2f;
inline constexpr float kLog1pG4 = -0x1.ff23e6p-3f;
inline constexpr float kLog1pG5 = 0x1.934b54p-3f;
inline constexpr float kLog1pG6 = -0x1.3a435ep-3f;
inline constexpr float kLog1pG7 = 0x1.b4ae08p-4f;
inline constexpr float kLog1pG8 = -0x1.d6b08cp-5f;
inline constexpr float kLog1pG9 = 0x1.4917cep-6f;
inline constexpr float kLog1pG10 = -0x1.af49cep-9f;

// gelu_tanh(x) = x / (1 + exp(x (a + b x^2))), a = -2 sqrt(2 / pi), b = 0.044715 a, each as a sum of two parts.
inline constexpr float kGeluLinearHigh = -0x1.988454p+0f;
inline constexpr float kGeluLinearLow = 0x1.857936p-25f;
inline constexpr float kGeluCubicHigh = -0x1.2444f2p-4f;
inline constexpr float kGeluCubicLow = -0x1.49b16ap-29f;
// The inner x is clamped to [-11, 8]: 11 exp(-112) rounds to 0, and 1 + exp(-49) to 1.
inline constexpr float kGeluLowest = -11.0f;
inline constexpr float kGeluHighest = 8.0f;

// gelu(x) = x (1/2 + x (n1 + n3 x^2 + ... + n9 x^8)) for |x| < kNormalSmall; relative error of the polynomial 2.9e-8.
inline constexpr float kNormalN1 = 0x1.988454p-2f;
inline constexpr float kNormalN3 = -0x1.1059b8p-4f;
inline constexpr float kNormalN5 = 0x1.47bdf6p-7f;
inline constexpr float kNormalN7 = -0x1.6648a2p-10f;
inline constexpr float kNormalN9 = 0x1.eb5fb2p-12f;
inline constexpr float kNormalSmall = 0.5f;
// Beyond: the share of a normal distribution above a is exp(-a^2 / 2) v (u0 + u1 v + ... + u9 v^9) with v = 1 / (a +
// 2); relative error of the polynomial 1.6e-8.
inline constexpr float kNormalU0 = 0x1.9888bap-2f;
inline constexpr float kNormalU1 = 0x1.97f670p-1f;
inline constexpr float kNormalU2 = 0x1.39ec6cp+0f;
inline constexpr float kNormalU3 = 0x1.6d46e0p-2f;
inline constexpr float kNormalU4 = 0x1.fb19e0p+0f;
inline constexpr float kNormalU5 = -0x1.cef300p+4f;
inline constexpr float kNormalU6 = 0x1.f1679ep+5f;
inline constexpr float kNormalU7 = -0x1.33b9dap+5f;
inline constexpr float kNormalU8 = -0x1.abd704p+4f;
inline constexpr float kNormalU9 = 0x1.0c3000p+5f;
// By how much a v times the polynomial changes when v does, near a = 1.4: both relative.
inline constexpr float kNormalSlope = 1.5f;
// a is clamped to 14.5: that times its share rounds to 0.
inline constexpr float kNormalHighest = 14.5f;

}  // namespace invar::law
