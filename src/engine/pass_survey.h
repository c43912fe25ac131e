// Lists the calls of one pass in forward order, for any architecture. The calls come from a pass that computes nothing
// (ops/survey.h) over the shapes of a plan. ops/verbs.h says what each call costs.
#pragma once

#include <memory>
#include <span>

#include "checkpoint/weight_plan.h"
#include "ops/survey.h"

namespace invar {

class PassSurvey {
  public:
    // Errors: an unknown architecture; a model that cannot be built with these shapes.
    static Result<PassSurvey> of(const ModelConfig& config, const WeightPlan& plan, Batch batch);
    PassSurvey(PassSurvey&&) noexcept;
    PassSurvey& operator=(PassSurvey&&) noexcept;
    ~PassSurvey();

    std::span<const VerbCall> calls() const;
    // The calls point to this batch: changing its positions changes what they cost. The number of rows must not change.
    Batch& batch();

  private:
    struct Parts;
    explicit PassSurvey(std::unique_ptr<Parts> parts);
    std::unique_ptr<Parts> parts_;
};

// Consecutive rows of one sequence from `first_position` on. Logits are wanted for the last `logits_rows` of them.
Batch batch_of(int64_t first_position, int64_t rows, int64_t logits_rows);

}  // namespace invar
