// The recurrences in float64, one token at a time, from their formulas. Float64Ops keeps their states from pass to
// pass; float64_verb.h computes single calls from the state before them.
#pragma once

#include <span>

#include "ops/verb_call.h"

namespace invar::float64 {

// One row of a call of causal_convolution, delta_rule or state_space. x, x2: the row of each input. state: that of the
// row's sequence, followed by its columns, as SequenceState::recurrence(); changed. out: [call.out.width()].
void step_recurrence(const VerbCall& call, const double* x, const double* x2, std::span<double> state, double* out);

}  // namespace invar::float64
