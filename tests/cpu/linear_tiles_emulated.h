// The AMX kernel with emulated tile instructions, for machines without AMX. Needs AVX-512.
#pragma once

#include "cpu/linear.h"

namespace invar {

void linear_tiles_emulated(const LinearTask& task);  // reads ActivationForm::strands

struct EmulatedCounts {
    int64_t products, faults;  // tile products so far; instructions that a CPU would have refused
    bool configured;           // whether the tiles are still configured, which would cost other programs
};
EmulatedCounts emulated_counts();

}  // namespace invar
