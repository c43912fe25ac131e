// Whether the host's part of a plan fits, and what the user can do if it does not: only what would make it smaller is
// advised. A device's budget is checked where its lines are added to the plan (weight_plan.h).
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/result.h"
#include "checkpoint/weight_plan.h"

namespace invar {

// No budget: nothing is checked. `source` says where it comes from: "available memory", "--memory". The error shows the
// arithmetic.
Result<void> check_host_memory(const WeightPlan& plan, std::optional<int64_t> budget, const std::string& source);

}  // namespace invar
