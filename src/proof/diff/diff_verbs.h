// Compares two models verb by verb: each verb of B gets the inputs that it had in A (replay.h), so that a difference is
// its own. The distances of the weights (diff_tensors.h) say how large it may be; the first verb that is farther off is
// where B computes something else.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "proof/diff/diff_tensors.h"
#include "proof/faults/likely_cause.h"
#include "proof/record/model_runner.h"

namespace invar {

struct VerbDistance {
    StageKey stage;
    std::string verb;
    double relative_rms = 0;         // rms(a - b) / rms(a) on the inputs of A; infinite if a is all 0
    double explained = 0;            // the most that the weights' distances explain
    bool suspicious = false;         // farther off, not finite, or another choice of experts
    int64_t position = 0;            // of the first value that differs
    int64_t element = 0;             // likewise
    std::optional<WeightId> weight;  // that the verb reads
};

struct VerbReport {
    std::vector<VerbDistance> verbs;  // in forward order
    int64_t positions = 0;
    std::optional<size_t> first;       // index of the first suspicious verb
    std::string injected;              // the fault that was put into B, "" if none
    std::optional<LikelyCause> cause;  // of the first suspicious verb
    std::string weight_suspicion;      // what the comparison of the weights says of that verb's weight, "" if nothing

    bool equal() const;  // every value of every verb
};

// Every stage of a run on the first tokens, as many as fit in a gigabyte.
Result<Recording> record_verbs(ModelRunner& a, std::span<const int32_t> tokens);
// `fault`: a fault to put into B, as for --inject; "": none. `distances` are those of the weights of A and B.
Result<VerbReport> compare_verbs(EngineRunner& b, const Recording& of_a, std::span<const TensorDistance> distances,
                                 const std::string& fault);

}  // namespace invar
