// Our own sin, cos, exp, log and pow in binary64. RoPE tables and YaRN are computed with them and rounded once to
// binary32, so that the tables agree on every system (the last bits of libm differ between systems). They use fma, +,
// -, *, / and integer operations on the exponent; nothing calls libm but the exact fma. Steps: docs/arithmetic.md,
// section 3.
#pragma once

namespace invar::law {

// |x| <= kAngleLimit radians; error below 0.8 ulp of the result plus 1e-30.
inline constexpr double kAngleLimit = 1073741824.0;  // 2^30
double sin64(double x);
double cos64(double x);

// |x| <= 700; error below 0.8 ulp.
double exp64(double x);

// x positive, finite and normal; error below 0.8 ulp.
double log64(double x);

// base positive, finite and normal, |exponent * log(base)| <= 700; error below 0.8 ulp.
double pow64(double base, double exponent);

}  // namespace invar::law
