// Every verb as plain loops over the law (arithmetic/), one row at a time, on one thread: what CpuOps must equal. It
// shares no code with src/cpu and has no fused verbs. Scratch lives until begin_pass().
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

    void embed(Stage stage, const WeightMatrix& table, const Batch& batch, Tensor out) override;
    void rms_norm(Stage stage, Tensor x, const WeightVector& weight, float epsilon, Tensor y) override;
    void linear(Stage stage, const WeightMatrix& weight, Tensor x, Tensor y) override;
    void add_bias(Stage stage, Tensor y, const WeightVector& bias) override;
    void rope(Stage stage, const RopeTable& table, const Batch& batch, Tensor x) override;
    void store_kv(Stage stage, int layer, const Batch& batch, Tensor keys, Tensor values, KvCache& cache) override;
    void attention(Stage stage, const AttentionCall& spec, const Batch& batch, Tensor queries, const KvCache& cache,
                   Tensor out) override;
    void silu_multiply(Stage stage, Tensor gate, Tensor up, Tensor out) override;
    void add(Stage stage, Tensor x, Tensor y) override;
    void route(Stage stage, const RouteSpec& spec, Tensor logits, ExpertSlots routing) override;
    void expert_linear(Stage stage, const WeightStack& experts, const ExpertSlots& routing, SlotInput input, Tensor x,
                       Tensor out) override;
    void combine_experts(Stage stage, const ExpertSlots& routing, Tensor slots, Tensor y) override;
    void gather_rows(Stage stage, Tensor x, std::span<const int32_t> rows, Tensor out) override;

  private:
    void inspect(const char* verb, Stage stage, int64_t row, int64_t element, float value);
    void inspect(const char* verb, Stage stage, Tensor out);

    std::deque<std::vector<float>> floats_;
    std::deque<std::vector<int32_t>> integers_;
    std::optional<NonFinite> failure_;
};

}  // namespace invar
