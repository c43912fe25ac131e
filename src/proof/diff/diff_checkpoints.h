// Compares two checkpoints of one model: what their headers say differently, how far each weight is from its
// counterpart (diff_tensors.h), how far runs on a text drift apart (diff_drift.h), and how far each verb of one is from
// that of the other (diff_verbs.h). A distance that the formats explain is no finding; everything else is reported.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/json_fwd.h"
#include "proof/diff/diff_drift.h"
#include "proof/diff/diff_match.h"
#include "proof/diff/diff_tensors.h"
#include "proof/diff/diff_verbs.h"

namespace invar {

struct CheckpointDiff {
    std::string a, b;  // files
    CheckpointMatch match;
    std::vector<TensorDistance> tensors;  // in the order of match.pairs
    std::optional<DriftReport> drift;
    std::optional<VerbReport> verbs;
    std::vector<std::string> not_compared;  // what was not compared, and why

    int64_t suspicious_tensors() const;
    // The number of differing hyper-parameters, missing and extra tensors, and suspicious tensors. If there are none, 1
    // for a verb that computes something else.
    int64_t suspicions() const;
};

// Called with the number of tensors compared so far and in all. Returning false stops with an error.
using DiffProgress = std::function<bool(int64_t done, int64_t total)>;
// Compares everything but the runs. The files must outlive the result.
Result<CheckpointDiff> diff_weights(const Checkpoint& a, const Checkpoint& b, ThreadPool& pool,
                                    const DiffProgress& progress);

Json diff_as_json(const CheckpointDiff& diff);
// `every_tensor`: one line for each tensor. Otherwise one for each suspicious tensor, and totals by role.
std::string diff_as_text(const CheckpointDiff& diff, bool every_tensor);

}  // namespace invar
