// Gives a third opinion on a difference: it evaluates one verb in float64 (float64_verb.h) on its actual input, before
// a fault or a kernel changes it. That tells which value an element should be close to, but not which bits are right.
#pragma once

#include <optional>
#include <vector>

#include "ops/verb_call.h"
#include "proof/record/recording.h"

namespace invar {

class Judge final : public VerbHook {
  public:
    // Names the stage, position and element in question. sequence_of[probe] is the sequence that holds it.
    Judge(StageKey key, int64_t position, size_t probe, int64_t element, const std::vector<int32_t>& sequence_of)
        : key_(std::move(key)), position_(position), probe_(probe), element_(element), sequence_of_(sequence_of) {}
    void before(VerbCall& call) override;

    // Nothing if the stage did not occur or has no value in float64 (expert ids).
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
