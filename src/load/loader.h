// Executes a weight plan: maps, widens or repacks each tensor as its entry says, in parallel, packs what belongs on the
// device through a small buffer, and gives back a registry that equals the plan, and lets go of the file's pages that
// are not part of it. It decides nothing; what it cannot do as planned is an error.
#pragma once

#include <functional>

#include "load/registry.h"
#include "machine/row_homes.h"

namespace invar {

// Runs work(first, last) over [0, count) on the caller's threads, in any order, and waits.
using ParallelRanges = std::function<void(int64_t count, const std::function<void(int64_t first, int64_t last)>& work)>;
// Bytes of file done, of all. Called from one thread.
using LoadProgress = std::function<void(int64_t done, int64_t total)>;

// Where rows have homes (machine/row_homes.h): runs work(item) for each item of [0, count), on a thread of
// home_of(item) as long as that has a free one, and waits.
struct HomedWork {
    RowHomes homes;
    std::function<void(int64_t count, const std::function<int(int64_t item)>& home_of,
                       const std::function<void(int64_t item)>& work)>
        run;
};
// Without homes.
HomedWork homeless(const ParallelRanges& parallel);

// `accelerator` is the device of a plan that has one; its weights are one allocation there.
Result<WeightRegistry> load_weights(const WeightPlan& plan, const Checkpoint& checkpoint,
                                    const ParallelRanges& parallel, const LoadProgress& progress,
                                    Accelerator* accelerator = nullptr);
// Each row of a matrix is written first by a thread of its home.
Result<WeightRegistry> load_weights(const WeightPlan& plan, const Checkpoint& checkpoint, const HomedWork& homed,
                                    const LoadProgress& progress, Accelerator* accelerator = nullptr);

// The same where packed weights of host memory are mapped from elsewhere: packed(entry) gives their bytes, which live
// as long as the result.
using PackedBytes = std::function<const std::byte*(const PlanEntry& entry)>;
Result<WeightRegistry> load_mapped(const WeightPlan& plan, const Checkpoint& checkpoint, const PackedBytes& packed,
                                   const HomedWork& homed, const LoadProgress& progress,
                                   Accelerator* accelerator = nullptr);

}  // namespace invar
