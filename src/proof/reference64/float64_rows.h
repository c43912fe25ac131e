// The verbs whose result is a function of single rows of their inputs, in float64: one body each, which whole passes
// (float64_ops.h) and single calls (float64_verb.h) share. Products, routing, the cache and attention are in those two.
#pragma once

#include "machine/function_ref.h"
#include "ops/verb_call.h"
#include "proof/reference64/float64_math.h"

namespace invar::float64 {

// What a row of a call's result is made of.
struct RowInputs {
    const VerbCall& call;  // for its shapes, weights, batch and gathered rows; its tensors are not read
    int64_t row = 0;       // of the result
    FunctionRef<const double*(int64_t row)> x, x2;  // a row of an input, which stays until the body ends
    FunctionRef<double(int64_t slot)> slot_weight;
    RowDecoder& decoder;

    const BatchRow& token() const { return call.batch->rows[static_cast<size_t>(row)]; }
};

// out: [call.out.width()], no row of an input unless the verb works in place.
using RowBody = void (*)(const RowInputs& in, double* out);

// nullptr: the verb is not one of these.
RowBody row_body(Verb verb);

}  // namespace invar::float64
