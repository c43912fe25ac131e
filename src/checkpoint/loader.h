// Executes a weight plan: maps, widens or repacks each tensor as its entry says, in parallel, and gives back a registry
// that equals the plan, and lets go of the file's pages that are not part of it. It decides nothing; what it cannot do
// as planned is an error.
#pragma once

#include <functional>

#include "checkpoint/registry.h"

namespace invar {

// Runs work(first, last) over [0, count) on the caller's threads, in any order, and waits.
using ParallelRanges = std::function<void(int64_t count, const std::function<void(int64_t first, int64_t last)>& work)>;
// Bytes of file done, of all. Called from one thread.
using LoadProgress = std::function<void(int64_t done, int64_t total)>;

Result<WeightRegistry> load_weights(const WeightPlan& plan, const GgufFile& file, const ParallelRanges& parallel,
                                    const LoadProgress& progress);

// Bytes a weight takes in a form: matrices and stacks in as_stored or rows4, vectors in binary32.
int64_t stored_bytes(const Format& format, StoredForm form, const std::vector<int64_t>& shape);

}  // namespace invar
