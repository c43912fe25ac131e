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
    void look_up(Stage stage, const WeightMatrix& table, const Batch& batch, Tensor out);
    void normalise(const VerbCall& call);
    void multiply(Stage stage, const WeightMatrix& weight, Tensor x, Tensor y);
    void add_vector(Stage stage, Tensor y, const WeightVector& bias);
    void rotate(Stage stage, const RopeTable& table, const Batch& batch, Tensor x);
    void store(Stage stage, int layer, const Batch& batch, Tensor keys, Tensor values, SequenceState& cache);
    void attend(Stage stage, const AttentionCall& spec, const Batch& batch, Tensor queries, const SequenceState& cache,
                Tensor out, const WeightVector* sinks);
    void gate(Stage stage, const ActivationSpec& spec, Tensor gate, Tensor up, Tensor out);
    void change_elements(const VerbCall& call);
    void multiply_heads(Stage stage, const WeightStack& heads, Tensor x, Tensor out);
    void convolve(const VerbCall& call);
    void recur(const VerbCall& call);
    void add_rows(Stage stage, Tensor x, Tensor y);
    void choose_experts(const VerbCall& call);
    void multiply_experts(Stage stage, const WeightStack& experts, const ExpertSlots& routing, SlotInput input,
                          Tensor x, Tensor out);
    void combine(Stage stage, const ExpertSlots& routing, Tensor slots, Tensor y);
    void gather(Stage stage, Tensor x, std::span<const int32_t> rows, Tensor out);
    void inspect(const char* verb, Stage stage, int64_t row, int64_t element, float value);
    void inspect(const char* verb, Stage stage, Tensor out);

    std::deque<std::vector<float>> floats_;
    std::deque<std::vector<int32_t>> integers_;
    std::optional<NonFinite> failure_;
};

}  // namespace invar
