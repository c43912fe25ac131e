// One pass over pieces of any number of requests, and what each of them gets from it. Engine::step() computes it; its
// caller decides how many rows each request gets (generate/).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/result.h"
#include "ops/preselection.h"

namespace invar {

enum class StepWanted : uint8_t { nothing, last_logits, all_logits };

// Tokens that follow those that a sequence holds.
struct StepPiece {
    int32_t sequence = 0;
    std::span<const int32_t> tokens;  // at least one
    StepWanted wanted = StepWanted::last_logits;
    // In place of the last logits the first tokens by rank; only where the engine's ranks_on_device().
    std::optional<Preselection> ranked = std::nullopt;
};

struct StepOutput {
    std::span<const float> logits;  // [vocabulary] of each row that was wanted, valid until the next pass
    std::optional<RankedLogits> ranked;
};

// Of each piece, in their order.
using StepResults = std::vector<Result<StepOutput>>;

}  // namespace invar
