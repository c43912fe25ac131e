// One run of a work inside a function that an instruction counter can find by its name: tools/instruction_counts.py
// tells valgrind to count in here alone.
#pragma once

#include "bench/measurement.h"

namespace invar {

// Warms up first, outside of counted_work(). Not timed.
Result<void> counted_run(const Work& work, Subject& subject);

// What is counted. Never inlined.
Result<void> counted_work(const Work& work, Subject& subject);

}  // namespace invar
