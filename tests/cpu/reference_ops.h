// Every verb as plain loops over the law (arithmetic/), one row at a time, on one thread: what CpuOps must equal. It
// shares no code with src/cpu and computes nothing together. Scratch lives until begin_pass().
#pragma once

#include <deque>
#include <vector>

#include "ops/ops.h"

namespace invar {

class ReferenceOps final : public Ops {
  public:
    Tensor scratch(int64_t rows, int64_t width) override;
    ExpertSlots scratch_slots(int64_t rows, int experts_per_row) override;
    void begin_pass() override;
    std::optional<NonFinite> failure() const override { return failure_; }

    void run(const VerbCall& call) override;

  private:
    void look_up(const VerbCall& call);
    void normalise(const VerbCall& call);
    void multiply(const VerbCall& call);
    void multiply_heads(const VerbCall& call);
    void rotate(const VerbCall& call);
    void store(const VerbCall& call);
    void attend(const VerbCall& call);
    void choose_experts(const VerbCall& call);
    void multiply_experts(const VerbCall& call);
    void combine(const VerbCall& call);
    void convolve(const VerbCall& call);
    void recur(const VerbCall& call);
    void inspect(const char* verb, Stage stage, int64_t row, int64_t element, float value);
    void inspect(const VerbCall& call);
    // out[row][i] = element(row, i) in rising order.
    template <class Element>
    void each(const VerbCall& call, const Element& element);

    std::deque<std::vector<float>> floats_;
    std::deque<std::vector<int32_t>> integers_;
    std::optional<NonFinite> failure_;
};

}  // namespace invar
