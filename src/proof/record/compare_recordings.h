// Compares two recordings, whatever engine made them, stage by stage in the forward order of the first. Without
// tolerances every bit must be equal. Tolerances are in tolerances.h; app/ prints the result.
#pragma once

#include <optional>
#include <vector>

#include "proof/record/tolerances.h"
#include "proof/verify/stage_comparison.h"

namespace invar {

struct RecordingComparison {
    std::vector<StageComparison> stages;  // in the forward order of A, followed by those that only B has
    int64_t counts[6] = {};               // indexed by StageOutcome
    int64_t values = 0, differing = 0;
    int64_t skipped_positions = 0;  // of compared stages
    // The first position whose tokens differ. Only positions before it were compared, because everything after depends
    // on the tokens.
    std::optional<int64_t> tokens_differ_at;

    int64_t count(StageOutcome outcome) const { return counts[static_cast<size_t>(outcome)]; }
    int64_t failures() const;
    // Whether everything that either recording has was compared, or has a stated reason to be absent.
    bool complete() const;
    // The first failure in forward order; nullptr if there is none.
    const StageComparison* first_failure() const;
};

// Errors: there is nothing to compare (no common stage, or other tokens from the first position on).
Result<RecordingComparison> compare_recordings(const Recording& a, const Recording& b, const Tolerances& tolerances);

// Compares one stage of each over the positions below `end` that both have.
StageComparison compare_stage(const StageRecord& a, const StageRecord& b, const StageRecord* margins, int64_t end);

}  // namespace invar
