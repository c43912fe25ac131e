// Brings the weights of a plan to a device: one block of its memory, filled from start to end through the page-locked
// pieces of Accelerator::upload_filled(). The host's threads read and pack matrices directly into one piece while the
// other is copied, so that no second copy of a weight exists; vectors are widened. WeightPlan::device_offsets() gives
// the place of each weight in the block.
#pragma once

#include "load/loader.h"
#include "ops/accelerator.h"

namespace invar {

struct DeviceLoad {
    const WeightPlan& plan;
    ThreadPool& pool;
    const LoadProgress& progress;
    Accelerator& accelerator;
};
// Returns the block. Errors: the device or the host lacks memory, or the file cannot be read.
Result<DeviceMemory> fill_device(const DeviceLoad& load);

}  // namespace invar
