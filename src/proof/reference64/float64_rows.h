// The verbs whose result is a function of single rows of their inputs, in float64. Whole passes (float64_ops.h) and
// single calls (float64_verb.h) share these bodies; both have their own products, routing, cache and attention.
#pragma once

#include "machine/function_ref.h"
#include "ops/verb_call.h"
#include "proof/reference64/float64_math.h"

namespace invar::float64 {

// The inputs of one row of a call's result.
struct RowInputs {
    const VerbCall& call;  // gives shapes, weights, batch and gathered rows; its tensors are not read
    int64_t row = 0;       // the row of the result
    FunctionRef<const double*(int64_t row)> x, x2;  // give a row of an input, valid until the body ends
    FunctionRef<double(int64_t slot)> slot_weight;
    FunctionRef<int32_t(int64_t slot)> slot_expert;
    RowDecoder& decoder;

    // The row of the batch that it belongs to; each may have several.
    const BatchRow& token() const {
        const int64_t of_token = call.out.rows() / call.batch->size();
        return call.batch->rows[static_cast<size_t>(row / of_token)];
    }
};

// out: [call.out.width()]. It must not overlap a row of an input unless the verb works in place.
using RowBody = void (*)(const RowInputs& in, double* out);

// nullptr if the verb is not one of these.
RowBody row_body(Verb verb);

}  // namespace invar::float64
