// Ops with observers around every verb: the traced pass is the production pass, fused verbs included, because the inner
// Ops computes it. Around a fused verb, every before() comes first, then the verb, then every after(). It decides
// nothing about what is recorded (recorder.h), injected (faults.h) or replayed (replay.h).
// Hooks work on the host: what they look at is brought there, and what they may have changed is brought back. Weights
// of a device are shown as the file has them.
#pragma once

#include <deque>
#include <vector>

#include "ops/ops.h"

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

    void run(const VerbCall& call) override;
    void run_together(std::span<const VerbCall> calls) override;

  private:
    // The call as observers see it: with its occurrence and the rows of the pass.
    VerbCall observed(const VerbCall& call);
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
