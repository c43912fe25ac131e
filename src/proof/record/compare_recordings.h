// Two recordings, whatever engine made them, stage by stage in the forward order of the first. Default: every bit. It
// decides nothing about how the result is printed (app/) nor which tolerances are right (tolerances.h).
#pragma once

#include <optional>
#include <vector>

#include "proof/record/tolerances.h"
#include "proof/verify/stage_comparison.h"

namespace invar {

struct RecordingComparison {
    std::vector<StageComparison> stages;  // in the forward order of A; then those that only B has
    int64_t counts[6] = {};               // by StageOutcome
    int64_t values = 0, differing = 0;
    int64_t skipped_positions = 0;  // of compared stages
    // The first position whose tokens differ: only what is before it was compared, because different questions have
    // different answers.
    std::optional<int64_t> tokens_differ_at;

    int64_t count(StageOutcome outcome) const { return counts[static_cast<size_t>(outcome)]; }
    int64_t failures() const;
    // Everything that either has was compared or its absence has a reason.
    bool complete() const;
    // In forward order; nullptr if there is none.
    const StageComparison* first_failure() const;
};

// Errors: nothing to compare (no stage in common, or other tokens from the first one on).
Result<RecordingComparison> compare_recordings(const Recording& a, const Recording& b, const Tolerances& tolerances);

// One stage of each, over the positions both have below `end`.
StageComparison compare_stage(const StageRecord& a, const StageRecord& b, const StageRecord* margins, int64_t end);

}  // namespace invar
