// Recorded passes of a device (ops/accelerator.h) against plain ones, bit for bit, on random states of several
// sequences: single tokens, prompts and both together, sequences cut back and gone on with, and the token that is
// chosen from the device's ranks against the one chosen from all logits. What observers could see inside of a pass is
// not looked at: a recorded pass has no inside (verify.h compares the stages of plain ones).
#pragma once

#include <functional>
#include <optional>

#include "engine/engine.h"
#include "proof/verify/stage_book.h"

namespace invar {

struct RecordedCheckRequest {
    int64_t steps = 96;
    double seconds = 8;  // when they are over, no more steps; at least 16
    uint64_t seed = 1;
    std::function<void(const Batch& batch)> before_recorded;  // of each recorded pass: fault injection
};

struct RecordedCheck {
    RecordedPasses::Counts passes;  // of this check
    int64_t steps = 0, positions = 0;
    int64_t choices = 0;  // tokens chosen from ranks and from all logits
    BookCounts counts;    // stages: rows of logits, and choices
    std::optional<StageDifference> first;
};

// Each sequence is computed twice, in a slot of plain passes and in one of recorded passes, so that what either leaves
// in the KV cache is read by its own kind alone. The engine has recorded_passes() and two free sequences or more. An
// error where a pass fails, or where none was replayed.
Result<RecordedCheck> check_recorded_passes(Engine& engine, const RecordedCheckRequest& request);

}  // namespace invar
