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

// exp(r) - 1 ~ r + r^2 (d2 + d3 r + ... + d7 r^5), relative error of the polynomial 3.4e-9; for tanh.
inline constexpr float kExpm1D2 = 0x1p-1f;
inline constexpr float kExpm1D3 = 0x1.55552cp-3f;
inline constexpr float kExpm1D4 = 0x1.555502p-5f;
inline constexpr float kExpm1D5 = 0x1.1155a8p-7f;
inline constexpr float kExpm1D6 = 0x1.6d2e4ap-10f;
inline constexpr float kExpm1D7 = 0x1.3b89a4p-13f;

// tanh(9.02) rounds to 1.
inline constexpr float kTanhHighest = 9.125f;

// log(1 + e) ~ e (g0 + g1 e + ... + g10 e^10), 0 <= e <= 1, relative error of the polynomial 8.4e-10; for softplus.
inline constexpr float kLog1pG0 = 0x1p+0f;
inline constexpr float kLog1pG1 = -0x1.fffff8p-2f;
inline constexpr float kLog1pG2 = 0x1.5553b6p-2f;
inline constexpr float kLog1pG3 = -0x1.ffc59ep-3f;
inline constexpr float kLog1pG4 = 0x1.978b56p-3f;
inline constexpr float kLog1pG5 = -0x1.4a72c4p-3f;
inline constexpr float kLog1pG6 = 0x1.ff2948p-4f;
inline constexpr float kLog1pG7 = -0x1.54f202p-4f;
inline constexpr float kLog1pG8 = 0x1.58ffd4p-5f;
inline constexpr float kLog1pG9 = -0x1.c0a18ap-7f;
inline constexpr float kLog1pG10 = 0x1.11341cp-9f;

// gelu_tanh(x) = x / (1 + exp(x (a + b x^2))), a = -2 sqrt(2 / pi), b = 0.044715 a, each as a sum of two parts.
inline constexpr float kGeluLinearHigh = -0x1.988454p+0f;
inline constexpr float kGeluLinearLow = 0x1.857936p-25f;
inline constexpr float kGeluCubicHigh = -0x1.2444f2p-4f;
inline constexpr float kGeluCubicLow = -0x1.49b16ap-29f;
// |x| >= 11 gives exp(>= 112) = infinity or exp(<= -112) = 0, so that the clamp of the inner x never changes a result.
inline constexpr float kGeluInner = 11.0f;

}  // namespace invar::law
