// Computes one call of a verb in float64 from its binary32 inputs, to decide which side of a difference is right. With
// quantised activations it follows the definition in all but rounding, and so decides differences as small as a
// rounding. The mathematics is that of the reference (float64_math.h), but the inputs are taken as they are, with the
// errors of earlier verbs.
#pragma once

#include <map>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "ops/verb_call.h"
#include "proof/reference64/float64_math.h"

namespace invar {

// The inputs of a call, copied in before(), because verbs that work in place overwrite them, and recurrences their
// state. Host tensors only. Keys and values are not copied: attention reads the call's SequenceState as it is stored.
class VerbInputs {
  public:
    static VerbInputs copy_of(const VerbCall& call);
    VerbInputs() = default;
    VerbInputs(VerbInputs&&) = default;  // there is no copy: its tensors would point to the original's memory
    VerbInputs& operator=(VerbInputs&&) = default;

    const Tensor& x() const { return x_; }
    const Tensor& x2() const { return x2_; }
    const ExpertSlots& slots() const { return slots_; }
    // The state of the recurrence, followed by its columns, of a sequence of the batch before the call.
    const std::vector<float>& state(int32_t sequence) const { return states_.at(sequence); }

  private:
    std::vector<std::vector<float>> floats_;
    std::vector<int32_t> experts_;
    Tensor x_, x2_;
    ExpertSlots slots_;
    std::map<int32_t, std::vector<float>> states_;
};

// Row `row` of the call's result, [width of the result]; for an expert verb, a row is a slot. For route it is the
// weights of the chosen experts in rank order, for store_kv the key followed by the value, before rounding. To be
// called in after(), while the call's batch, weights and cache exist. Errors: there is no such row.
Result<std::vector<double>> float64_of(const VerbCall& call, const VerbInputs& inputs, int64_t row,
                                       float64::Activations activations = float64::Activations::exact);

// The same for a stage of a verb with several results (proof/record/recorder.h): router_probabilities, expert_weights,
// routing_margin and expert_ids of route, key_stored and value_stored of store_kv, attention_scores [heads * positions]
// of attention, -infinity where the query does not look. For other names it is float64_of.
Result<std::vector<double>> float64_of_stage(const VerbCall& call, const VerbInputs& inputs, std::string_view stage,
                                             int64_t row,
                                             float64::Activations activations = float64::Activations::exact);

}  // namespace invar
