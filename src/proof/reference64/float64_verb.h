// One call of a verb in float64, from the binary32 inputs it was given: which of two sides of a difference is right.
// With quantised activations it is the law itself in float64, and decides what is as small as a rounding.
// The mathematics is that of the reference (float64_math.h); inputs are taken as they are, with no history behind them.
#pragma once

#include <string_view>
#include <vector>

#include "base/result.h"
#include "ops/verb_call.h"
#include "proof/reference64/float64_math.h"

namespace invar {

// What a call was given, copied in before(): verbs that work in place overwrite it. Host tensors only. Keys and values
// are not copied: attention reads the call's SequenceState as it is stored.
class VerbInputs {
  public:
    static VerbInputs copy_of(const VerbCall& call);
    VerbInputs() = default;
    VerbInputs(VerbInputs&&) = default;  // a copy's tensors would show the original's memory
    VerbInputs& operator=(VerbInputs&&) = default;

    const Tensor& x() const { return x_; }
    const Tensor& x2() const { return x2_; }
    const ExpertSlots& slots() const { return slots_; }

  private:
    std::vector<std::vector<float>> floats_;
    std::vector<int32_t> experts_;
    Tensor x_, x2_;
    ExpertSlots slots_;
};

// Row `row` of the call's result, [width of the result]; a row of an expert verb is a slot. route: the weights of the
// chosen experts in rank order; store_kv: the key, then the value, before they are rounded. Called before the call's
// batch, weights and cache are gone: in after(). Errors: the row does not exist.
Result<std::vector<double>> float64_of(const VerbCall& call, const VerbInputs& inputs, int64_t row,
                                       float64::Activations activations = float64::Activations::exact);

// The same for the name of a stage that has no result of its own (proof/record/recorder.h): router_probabilities,
// expert_weights, routing_margin and expert_ids of route, key_stored and value_stored of store_kv, attention_scores
// [heads * positions] of attention, -infinity where the query does not look. Other names: float64_of.
Result<std::vector<double>> float64_of_stage(const VerbCall& call, const VerbInputs& inputs, std::string_view stage,
                                             int64_t row,
                                             float64::Activations activations = float64::Activations::exact);

}  // namespace invar
