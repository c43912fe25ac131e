// The third opinion on a difference: evaluates one verb, on the input it is really given, in float64 (float64_verb.h),
// before any fault or kernel touches it. It says what one element should be near; it does not say which bits are right.
#pragma once

#include <optional>
#include <vector>

#include "ops/verb_call.h"
#include "proof/record/recording.h"

namespace invar {

class Judge final : public VerbHook {
  public:
    // The stage, position and element in question; sequence_of[probe] is the sequence that holds it.
    Judge(StageKey key, int64_t position, size_t probe, int64_t element, const std::vector<int32_t>& sequence_of)
        : key_(std::move(key)), position_(position), probe_(probe), element_(element), sequence_of_(sequence_of) {}
    void before(VerbCall& call) override;

    // Nothing: the stage was not met, or has no value in float64 (expert ids).
    std::optional<double> value() const { return value_; }

  private:
    const StageKey key_;
    const int64_t position_;
    const size_t probe_;
    const int64_t element_;
    const std::vector<int32_t>& sequence_of_;
    std::optional<double> value_;
};

}  // namespace invar
