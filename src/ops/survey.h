// A pass without arithmetic: tensors have no memory, and every call is kept. The demands of a model on a machine are
// read from its calls (engine/pass_survey.h), never from a formula about its parts.
#pragma once

#include <vector>

#include "ops/ops.h"

namespace invar {

class SurveyOps final : public Ops {
  public:
    // The calls of this pass in forward order. They point to data of the model, the batch and the cache.
    const std::vector<VerbCall>& calls() const { return calls_; }

    Tensor scratch(int64_t rows, int64_t width) override { return {nullptr, Place::host, rows, width, width}; }
    ExpertSlots scratch_slots(int64_t rows, int experts_per_row) override {
        return {.rows = rows, .experts_per_row = experts_per_row};
    }
    void begin_pass() override { calls_.clear(); }
    std::optional<NonFinite> failure() const override { return std::nullopt; }
    void run(const VerbCall& call) override { calls_.push_back(call); }

  private:
    std::vector<VerbCall> calls_;
};

}  // namespace invar
