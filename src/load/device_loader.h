// Brings the weights of a plan to a device: one block of its memory, filled from its start to its end through the
// page-locked pieces of Accelerator::upload_filled(). Matrices are read and packed by the host's threads right into a
// piece while the piece before is copied, so that no second copy of a weight exists; vectors are widened. Where in the
// block a weight lies: WeightPlan::device_offsets().
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
// The block. Errors: the device or the host lacks memory, the file cannot be read.
Result<DeviceMemory> fill_device(const DeviceLoad& load);

}  // namespace invar
