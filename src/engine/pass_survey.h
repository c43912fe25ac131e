// What one pass asks of a machine, for every architecture alike: the calls of its verbs in forward order, from a pass
// that computes nothing (ops/survey.h) over the shapes of a plan. What a call costs: ops/verbs.h.
#pragma once

#include <memory>
#include <span>

#include "checkpoint/weight_plan.h"
#include "ops/survey.h"

namespace invar {

class PassSurvey {
  public:
    // Errors: an architecture that is not one of ours; a model that cannot be built of these shapes.
    static Result<PassSurvey> of(const ModelConfig& config, const WeightPlan& plan, Batch batch);
    PassSurvey(PassSurvey&&) noexcept;
    PassSurvey& operator=(PassSurvey&&) noexcept;
    ~PassSurvey();

    std::span<const VerbCall> calls() const;
    // Calls point to it, so that a change of positions changes what they cost. The number of rows stays.
    Batch& batch();

  private:
    struct Parts;
    explicit PassSurvey(std::unique_ptr<Parts> parts);
    std::unique_ptr<Parts> parts_;
};

// Rows of one sequence from a position on; the logits of the last `logits_rows` of them are wanted.
Batch batch_of(int64_t first_position, int64_t rows, int64_t logits_rows);

}  // namespace invar
