// A step is one pass over pieces of any number of requests; each piece gets its own result. Engine::step() computes it.
// The caller decides how many rows each request gets (generate/).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/result.h"
#include "ops/preselection.h"

namespace invar {

enum class StepWanted : uint8_t { nothing, last_logits, all_logits };

// Tokens to append to what a sequence holds.
struct StepPiece {
    int32_t sequence = 0;
    std::span<const int32_t> tokens;  // at least one
    StepWanted wanted = StepWanted::last_logits;
    // Asks for the first tokens by rank instead of the last logits. Only possible if the engine's ranks_on_device() is
    // true.
    std::optional<Preselection> ranked = std::nullopt;
};

struct StepOutput {
    std::span<const float> logits;  // the model's result for each row that was wanted, valid until the next pass
    std::optional<RankedLogits> ranked;
};

// One result per piece, in the same order.
using StepResults = std::vector<Result<StepOutput>>;

}  // namespace invar
