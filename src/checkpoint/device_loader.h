// Brings the weights of a plan to a device: one block of its memory, filled entry by entry. Matrices are read and
// packed by the host's threads into a buffer of fixed size and copied from there, so that no second copy of a weight
// exists; vectors are widened. Where in the block a weight lies: WeightPlan::device_offsets().
#pragma once

#include "checkpoint/loader.h"
#include "ops/accelerator.h"

namespace invar {

struct DeviceLoad {
    const WeightPlan& plan;
    const GgufFile& file;
    const ParallelRanges& parallel;
    const LoadProgress& progress;
    Accelerator& accelerator;
};
// The block. Errors: the device or the host lacks memory, the file cannot be read.
Result<DeviceMemory> fill_device(const DeviceLoad& load);

}  // namespace invar
