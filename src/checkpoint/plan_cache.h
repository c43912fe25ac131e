// The part of a plan that sequences take: pages of keys and values, and states of recurrences with their snapshots
// (docs/state.md). It decides how many units of each group there are and adds their lines.
#pragma once

#include "checkpoint/weight_plan.h"

namespace invar {

// Fills plan.cache_units and adds the lines "kv_cache" and "recurrent_state", one for each place that has layers. The
// plan must have context, chunk and places of layers. Errors: more bytes than any machine has; fewer positions in all
// than one sequence can have.
Result<void> reserve_cache(WeightPlan& plan, const ModelConfig& config, const PlanRequest& request);

}  // namespace invar
