// Compares recorded passes of a device (ops/accelerator.h) with plain ones, bit for bit, on random states of several
// sequences: single tokens, prompts, both together, and sequences that are cut back and continued. It also compares the
// token chosen from the device's ranks with the one chosen from all logits. Stages inside a pass are not compared,
// because a recorded pass shows none (verify.h compares the stages of plain passes).
#pragma once

#include <functional>
#include <optional>

#include "engine/engine.h"
#include "proof/verify/stage_book.h"

namespace invar {

struct RecordedCheckRequest {
    int64_t steps = 96;
    double seconds = 8;  // no step starts after this time, but there are at least 16
    uint64_t seed = 1;
    std::function<void(const Batch& batch)> before_recorded;  // called before each recorded pass, for fault injection
};

struct RecordedCheck {
    RecordedPasses::Counts passes;  // those of this check only
    int64_t steps = 0, positions = 0;
    int64_t choices = 0;  // how many tokens were chosen both from ranks and from all logits
    BookCounts counts;    // rows of logits and choices, counted as stages
    std::optional<StageDifference> first;
};

// Each list of tokens is computed in two sequences, one by plain and one by recorded passes, so that each reads only
// what its own kind has stored. The engine must have recorded_passes() and at least two free sequences. Errors: a pass
// fails, or no recorded pass was replayed.
Result<RecordedCheck> check_recorded_passes(Engine& engine, const RecordedCheckRequest& request);

}  // namespace invar
