// Executes a weight plan: it maps, widens or repacks each tensor as its entry says, in parallel, packs the device's
// part through a small buffer, returns a registry that equals the plan, and releases the file's pages that are not part
// of it. It decides nothing; a step that cannot be done as planned is an error.
#pragma once

#include <functional>

#include "load/registry.h"
#include "machine/row_homes.h"

namespace invar {

// Runs work(first, last) over [0, count) on the caller's threads, in any order, and waits.
using ParallelRanges = std::function<void(int64_t count, const std::function<void(int64_t first, int64_t last)>& work)>;
// Called with the bytes of file done, and of all. Called from one thread.
using LoadProgress = std::function<void(int64_t done, int64_t total)>;

// For rows that have homes (machine/row_homes.h). Runs work(item) for each item of [0, count), on a thread of
// home_of(item) as long as that has a free one, and waits.
struct HomedWork {
    RowHomes homes;
    std::function<void(int64_t count, const std::function<int(int64_t item)>& home_of,
                       const std::function<void(int64_t item)>& work)>
        run;
};
// The same interface without homes.
HomedWork homeless(const ParallelRanges& parallel);

// `accelerator` is the device of a plan that has one; its weights are one allocation there.
Result<WeightRegistry> load_weights(const WeightPlan& plan, const Checkpoint& checkpoint,
                                    const ParallelRanges& parallel, const LoadProgress& progress,
                                    Accelerator* accelerator = nullptr);
// A thread of its home is the first to write each row of a matrix.
Result<WeightRegistry> load_weights(const WeightPlan& plan, const Checkpoint& checkpoint, const HomedWork& homed,
                                    const LoadProgress& progress, Accelerator* accelerator = nullptr);

// The same with packed weights of host memory mapped from elsewhere: packed(entry) returns their bytes, which must live
// as long as the result.
using PackedBytes = std::function<const std::byte*(const PlanEntry& entry)>;
Result<WeightRegistry> load_mapped(const WeightPlan& plan, const Checkpoint& checkpoint, const PackedBytes& packed,
                                   const HomedWork& homed, const LoadProgress& progress,
                                   Accelerator* accelerator = nullptr);

}  // namespace invar
