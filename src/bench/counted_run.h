// Runs a work inside a function that an instruction counter finds by name: tools/instruction_counts.py tells valgrind
// to count in that function alone.
#pragma once

#include "bench/measurement.h"

namespace invar {

// Warms up outside of counted_work(), then calls it. Nothing is timed.
Result<void> counted_run(const Work& work, Subject& subject);

// The function that is counted. It is never inlined.
Result<void> counted_work(const Work& work, Subject& subject);

}  // namespace invar
