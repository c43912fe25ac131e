// Says in one sentence what a comparison of two checkpoints found, and prints the comparison of their verbs.
#pragma once

#include <string>

#include "base/json_fwd.h"
#include "proof/diff/diff_checkpoints.h"

namespace invar {

// One line: whether A and B are the same model, and if not, where they first differ and what the likely cause is.
std::string verdict_of(const CheckpointDiff& diff);

// A line for each stage, that of the layer where it is farthest beyond what is explained.
std::string verbs_as_text(const VerbReport& report);
Json verbs_as_json(const VerbReport& report);

}  // namespace invar
