// Executes a weight plan: it maps, widens or repacks each tensor as its entry says, in parallel, packs the device's
// part through a small buffer, returns a registry that equals the plan, and releases the file's pages that are not part
// of it. It decides nothing; a step that cannot be done as planned is an error.
#pragma once

#include <functional>

#include "load/registry.h"
#include "machine/thread_pool.h"

namespace invar {

// Bytes of file done, of all. Called from the thread that loads.
using LoadProgress = std::function<void(int64_t done, int64_t total)>;

// On the threads of `pool`; where it has homes (machine/row_homes.h), each row of a matrix is written first by a thread
// of its home. `accelerator` is the device of a plan that has one; its weights are one allocation there.
Result<WeightRegistry> load_weights(const WeightPlan& plan, const Checkpoint& checkpoint, ThreadPool& pool,
                                    const LoadProgress& progress, Accelerator* accelerator = nullptr);

// The same with packed weights of host memory mapped from elsewhere: packed(entry) returns their bytes, which must live
// as long as the result.
using PackedBytes = std::function<const std::byte*(const PlanEntry& entry)>;
Result<WeightRegistry> load_mapped(const WeightPlan& plan, const Checkpoint& checkpoint, const PackedBytes& packed,
                                   ThreadPool& pool, const LoadProgress& progress, Accelerator* accelerator = nullptr);

}  // namespace invar
