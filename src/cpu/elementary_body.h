// exp, silu and tanh on a register, for the vector bodies: the lines of arithmetic/elementary_steps.h lane by lane. It
// is included after a simd header, into that header's unnamed namespace. docs/arithmetic.md, section 3, gives the
// reasons for the steps.
#pragma once

#include "arithmetic/elementary_constants.h"

namespace invar {
namespace {

struct ReducedLanes {  // x = n ln 2 + r
    Integers n;
    Floats r;
};

inline ReducedLanes reduce_lanes(Floats x) {
    const Floats shifted = fma(x, broadcast(law::kLog2E), broadcast(law::kRoundingShift));
    const Floats n = subtract(shifted, broadcast(law::kRoundingShift));
    Floats r = fma(n, broadcast(-law::kLn2High), x);
    r = fma(n, broadcast(-law::kLn2Low), r);
    return {integer_of(shifted), r};
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
    return scale_by_power(fma(exp_slope_lanes(reduced.r), reduced.r, broadcast(1.0f)), reduced.n);
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
    const Floats large = subtract(one, divide(two, add(exp_lanes(add(a, a)), one)));
    return with_sign_of(where_less(a, broadcast(law::kTanhSmall), small, large), x);
}

// Computes numerator / (1 + exp(y)), with y given reduced: the law's logistic().
inline Floats logistic_lanes(Floats numerator, ReducedLanes y) {
    const Floats one = broadcast(1.0f);
    const Integers m = negate(y.n);
    const Floats power = scale_by_power(one, m);  // 2^m; 0 below 2^-149
    const Floats head_larger = where_greater(power, one, power, one);
    const Floats head_smaller = where_greater(power, one, one, power);
    const Floats head = add(head_larger, head_smaller);
    const Floats lost = subtract(head_smaller, subtract(head, head_larger));
    const Floats denominator = add(head, fma(exp_slope_lanes(y.r), y.r, lost));
    return scale_by_power(divide(numerator, denominator), m);
}

// law::silu
inline Floats silu_lanes(Floats x) {
    const Floats numerator = larger(broadcast(law::kLogisticLowest), x);  // a NaN stays
    const Floats c = smaller(broadcast(law::kLogisticHighest), numerator);
    return logistic_lanes(numerator, reduce_lanes(negate(c)));
}

}  // namespace
}  // namespace invar
