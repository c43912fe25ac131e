// Ops with observers around every verb: the traced pass is the production pass, fused verbs included, because the inner
// Ops computes it. Around a fused verb, every before() comes first, then the verb, then every after(). It decides
// nothing about what is recorded (recorder.h), injected (faults.h) or replayed (replay.h).
// Hooks work on the host: what they look at is brought there, and what they may have changed is brought back. Weights
// of a device are shown as the file has them.
#pragma once

#include <deque>
#include <vector>

#include "proof/record/verb_call.h"

namespace invar {

class HookedOps final : public Ops {
  public:
    // Hooks are called in this order, before and after alike: one that injects goes before one that records.
    HookedOps(Ops& inner, std::vector<VerbHook*> hooks);

    Tensor scratch(int64_t rows, int64_t width) override { return inner_.scratch(rows, width); }
    ExpertSlots scratch_slots(int64_t rows, int experts_per_row) override {
        return inner_.scratch_slots(rows, experts_per_row);
    }
    void begin_pass() override;
    std::optional<NonFinite> failure() const override { return inner_.failure(); }
    Result<void> finish() override { return inner_.finish(); }
    void to_host(Tensor x) override { inner_.to_host(x); }

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
    void linear_many(std::span<const LinearJob> jobs, Tensor x) override;
    void expert_linear_pair(Stage first_stage, const WeightStack& first, Tensor first_out, Stage second_stage,
                            const WeightStack& second, Tensor second_out, const ExpertSlots& routing, SlotInput input,
                            Tensor x) override;

  private:
    VerbCall make(Verb verb, Stage stage);
    void before(VerbCall& call);
    void after(const VerbCall& call);
    void show_weights(VerbCall& call);
    void bring_tensors(const VerbCall& call);
    void bring_results(const VerbCall& call);
    void take_back(const VerbCall& call);

    Ops& inner_;
    std::vector<VerbHook*> hooks_;
    VerbHook::Looks looks_ = VerbHook::Looks::at_calls;  // the most that a hook looks at
    // Of this pass, for weights of a device.
    std::deque<WeightMatrix> matrices_;
    std::deque<WeightStack> stacks_;
    std::deque<WeightVector> vectors_;
    Batch pass_;
    std::vector<int32_t> pass_rows_;
    std::vector<Stage> seen_;  // of this pass, to count occurrences
};

}  // namespace invar
