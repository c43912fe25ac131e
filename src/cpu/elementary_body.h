// The elementary functions on a register, for the vector bodies: the lines of arithmetic/elementary_steps.h lane by
// lane. It is included after a simd header, into that header's unnamed namespace. docs/arithmetic.md, section 3, gives
// the reasons for the steps.
#pragma once

#include "arithmetic/elementary_constants.h"

namespace invar {
namespace {

struct ReducedLanes {  // x = n ln 2 + r, shifted = n + kRoundingShift
    Floats shifted, n, r;
};

inline ReducedLanes reduce_lanes(Floats x) {
    const Floats shifted = fma(x, broadcast(law::kLog2E), broadcast(law::kRoundingShift));
    const Floats n = subtract(shifted, broadcast(law::kRoundingShift));
    Floats r = fma(n, broadcast(-law::kLn2High), x);
    r = fma(n, broadcast(-law::kLn2Low), r);
    return {shifted, n, r};
}

// Of -x, whose sign the steps take in.
inline ReducedLanes reduce_negated_lanes(Floats x) {
    const Floats shifted = negated_fma(x, broadcast(law::kLog2E), broadcast(law::kRoundingShift));
    const Floats n = subtract(shifted, broadcast(law::kRoundingShift));
    Floats r = negated_fma_minus(n, broadcast(law::kLn2High), x);
    r = fma(n, broadcast(-law::kLn2Low), r);
    return {shifted, n, r};
}

inline Floats exp_slope_lanes(Floats r) {
    Floats p = broadcast(law::kExpC6);
    p = fma(p, r, broadcast(law::kExpC5));
    p = fma(p, r, broadcast(law::kExpC4));
    p = fma(p, r, broadcast(law::kExpC3));
    p = fma(p, r, broadcast(law::kExpC2));
    return fma(p, r, broadcast(1.0f));
}

// law::exp
inline Floats exp_lanes(Floats x) {
    Floats c = smaller(broadcast(law::kExpHighest), x);  // a NaN stays
    c = larger(broadcast(law::kExpLowest), c);
    const ReducedLanes reduced = reduce_lanes(c);
    return scale_by_power(fma(exp_slope_lanes(reduced.r), reduced.r, broadcast(1.0f)),
                          power_of(reduced.shifted, reduced.n));
}

// law::tanh
inline Floats tanh_lanes(Floats x) {
    const Floats one = broadcast(1.0f), two = broadcast(2.0f);
    const Floats a = smaller(broadcast(law::kTanhHighest), magnitude(x));  // a NaN stays
    const Floats square = multiply(a, a);
    Floats q = broadcast(law::kTanhT11);
    q = fma(q, square, broadcast(law::kTanhT9));
    q = fma(q, square, broadcast(law::kTanhT7));
    q = fma(q, square, broadcast(law::kTanhT5));
    q = fma(q, square, broadcast(law::kTanhT3));
    const Floats small = fma(multiply(a, square), q, a);
    if (all_less(a, broadcast(law::kTanhSmall))) return with_sign_of(small, x);  // logits nearly always
    const Floats large = subtract(one, divide(two, add(exp_lanes(add(a, a)), one)));
    return with_sign_of(where_less(a, broadcast(law::kTanhSmall), small, large), x);
}

// Computes numerator / (1 + exp(y)), with y given reduced: the law's logistic(). kNormal: 2^-n is a normal number.
template <bool kNormal>
inline Floats logistic_lanes(Floats numerator, ReducedLanes y) {
    const Floats one = broadcast(1.0f);
    const Power m = inverse_power_of(y.shifted, y.n);
    const Floats power = kNormal ? normal_inverse_power(y.shifted) : scale_by_power(one, m);  // 0 below 2^-149
    const Floats head_larger = larger(power, one);
    const Floats head_smaller = smaller(one, power);
    const Floats head = add(head_larger, head_smaller);
    const Floats lost = subtract(head_smaller, subtract(head, head_larger));
    const Floats denominator = add(head, fma(exp_slope_lanes(y.r), y.r, lost));
    const Floats quotient = divide(numerator, denominator);
    return kNormal ? multiply(quotient, power) : scale_by_power(quotient, m);
}

// Whether every |x| < bound. The bounds here are clamps, which then do nothing, and keep 2^-n normal (64: |n| <= 93).
inline bool all_moderate(Floats x, float bound) {
    return kNormalPowersAreCheaper && all_less(magnitude(x), broadcast(bound));
}

// law::sigmoid
inline Floats sigmoid_lanes(Floats x) {
    if (all_moderate(x, law::kLogisticHighest)) {
        return logistic_lanes<true>(broadcast(1.0f), reduce_negated_lanes(x));
    }
    Floats c = smaller(broadcast(law::kLogisticHighest), x);  // a NaN stays
    c = larger(broadcast(law::kLogisticLowest), c);
    return logistic_lanes<false>(broadcast(1.0f), reduce_negated_lanes(c));
}

// law::silu
inline Floats silu_lanes(Floats x) {
    if (all_moderate(x, law::kLogisticHighest)) return logistic_lanes<true>(x, reduce_negated_lanes(x));
    const Floats numerator = larger(broadcast(law::kLogisticLowest), x);  // a NaN stays
    const Floats c = smaller(broadcast(law::kLogisticHighest), numerator);
    return logistic_lanes<false>(numerator, reduce_negated_lanes(c));
}

// The argument of gelu_tanh's logistic for c, which is clamped, reduced.
inline ReducedLanes gelu_tanh_argument_lanes(Floats c) {
    const Floats linear = broadcast(law::kGeluLinearHigh), cubic_factor = broadcast(law::kGeluCubicHigh);
    const Floats square = multiply(c, c);
    const Floats square_low = fma_minus(c, c, square);
    const Floats cubic = multiply(cubic_factor, square);
    Floats cubic_low = fma_minus(cubic_factor, square, cubic);
    cubic_low = fma(cubic_factor, square_low, cubic_low);
    cubic_low = fma(broadcast(law::kGeluCubicLow), square, cubic_low);
    const Floats w = add(linear, cubic);
    const Floats part = subtract(w, linear);
    const Floats w_low = add(add(subtract(linear, subtract(w, part)), subtract(cubic, part)),
                             add(cubic_low, broadcast(law::kGeluLinearLow)));
    const Floats v = multiply(c, w);
    const Floats v_low = fma(c, w_low, fma_minus(c, w, v));
    const Floats shifted = fma(v, broadcast(law::kLog2E), broadcast(law::kRoundingShift));
    const Floats n = subtract(shifted, broadcast(law::kRoundingShift));
    const Floats r = add(fma(n, broadcast(-law::kLn2High), v), fma(n, broadcast(-law::kLn2Low), v_low));
    return {shifted, n, r};
}

// law::gelu_tanh
inline Floats gelu_tanh_lanes(Floats x) {
    if (all_moderate(x, law::kGeluHighest)) return logistic_lanes<true>(x, gelu_tanh_argument_lanes(x));
    const Floats numerator = larger(broadcast(law::kGeluLowest), x);  // a NaN stays
    const Floats c = smaller(broadcast(law::kGeluHighest), numerator);
    return logistic_lanes<false>(numerator, gelu_tanh_argument_lanes(c));
}

inline Floats normal_polynomial_lanes(Floats square) {
    Floats h = broadcast(law::kNormalN9);
    h = fma(h, square, broadcast(law::kNormalN7));
    h = fma(h, square, broadcast(law::kNormalN5));
    h = fma(h, square, broadcast(law::kNormalN3));
    return fma(h, square, broadcast(law::kNormalN1));
}

inline Floats normal_tail_slope_lanes(Floats v) {
    Floats p = broadcast(law::kNormalU9);
    p = fma(p, v, broadcast(law::kNormalU8));
    p = fma(p, v, broadcast(law::kNormalU7));
    p = fma(p, v, broadcast(law::kNormalU6));
    p = fma(p, v, broadcast(law::kNormalU5));
    p = fma(p, v, broadcast(law::kNormalU4));
    p = fma(p, v, broadcast(law::kNormalU3));
    p = fma(p, v, broadcast(law::kNormalU2));
    return fma(p, v, broadcast(law::kNormalU1));
}

// law::gelu
inline Floats gelu_lanes(Floats x) {
    const Floats one = broadcast(1.0f), two = broadcast(2.0f);
    const Floats a = smaller(broadcast(law::kNormalHighest), magnitude(x));  // a NaN stays
    const Floats square = multiply(a, a);
    const Floats small = multiply(x, fma(x, normal_polynomial_lanes(square), broadcast(0.5f)));
    const Floats sum = add(a, two);
    const Floats sum_low = subtract(a, subtract(sum, two));
    const Floats v = divide(one, sum);
    const Floats error = negated_fma(sum_low, v, negated_fma(sum, v, one));
    const Floats half = multiply(broadcast(-0.5f), square);
    const Floats half_low = multiply(broadcast(-0.5f), fma_minus(a, a, square));
    const Floats shifted = fma(half, broadcast(law::kLog2E), broadcast(law::kRoundingShift));
    const Floats n = subtract(shifted, broadcast(law::kRoundingShift));
    const Floats r = add(fma(n, broadcast(-law::kLn2High), half),
                         fma(broadcast(law::kNormalSlope), error, fma(n, broadcast(-law::kLn2Low), half_low)));
    const Floats slope = exp_slope_lanes(r);
    const Floats t = multiply(slope, r);
    const Floats t_low = fma_minus(slope, r, t);
    const Floats p = normal_tail_slope_lanes(v);
    const Floats u = fma(p, v, broadcast(law::kNormalU0));
    const Floats u_low = fma(p, v, subtract(broadcast(law::kNormalU0), u));
    const Floats z = multiply(a, v);
    const Floats z_low = fma_minus(a, v, z);
    const Floats w = multiply(z, u);
    const Floats w_low = fma(z, u_low, fma(u, z_low, fma_minus(z, u, w)));
    const Floats product = add(w, fma(w, t, fma(w, t_low, fma(w_low, t, w_low))));
    const Floats tail = scale_by_power(product, power_of(shifted, n));
    const Floats large = where_greater(x, broadcast(0.0f), subtract(x, tail), negate(tail));
    return where_less(a, broadcast(law::kNormalSmall), small, large);
}

// law::softplus
inline Floats softplus_lanes(Floats x) {
    const Floats e = exp_lanes(negate(magnitude(x)));
    Floats g = broadcast(law::kLog1pG10);
    g = fma(g, e, broadcast(law::kLog1pG9));
    g = fma(g, e, broadcast(law::kLog1pG8));
    g = fma(g, e, broadcast(law::kLog1pG7));
    g = fma(g, e, broadcast(law::kLog1pG6));
    g = fma(g, e, broadcast(law::kLog1pG5));
    g = fma(g, e, broadcast(law::kLog1pG4));
    g = fma(g, e, broadcast(law::kLog1pG3));
    g = fma(g, e, broadcast(law::kLog1pG2));
    const Floats zero = broadcast(0.0f);
    return add(where_greater(x, zero, x, zero), fma(multiply(e, e), g, e));
}

}  // namespace
}  // namespace invar
