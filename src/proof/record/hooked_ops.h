// Ops with observers around every verb. The inner Ops computes the pass, fused verbs included, so the observed pass is
// the production pass. Around a fused verb, all before() are called first, then the verb runs, then all after() are
// called. What the hooks do is up to them: they record (recorder.h), inject faults (faults.h) or replay (replay.h).
//
// Hooks work on the host. Results they look at are copied there, and results they may change are copied back. Weights
// that are on a device are shown as the file has them.
#pragma once

#include <deque>
#include <vector>

#include "ops/ops.h"

namespace invar {

class HookedOps final : public Ops {
  public:
    // Hooks are called in this order, both before and after a verb. A hook that injects goes before one that records.
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
    // The call as observers see it, with its occurrence in the pass and the rows of the pass.
    VerbCall observed(const VerbCall& call);
    void before(VerbCall& call);
    void after(const VerbCall& call);
    void show_weights(VerbCall& call);
    void bring_tensors(const VerbCall& call);
    void bring_results(const VerbCall& call);
    void take_back(const VerbCall& call);

    Ops& inner_;
    std::vector<VerbHook*> hooks_;
    VerbHook::Looks looks_ = VerbHook::Looks::at_calls;  // the most that any hook looks at
    // Weights shown for those on a device, kept for this pass.
    std::deque<WeightMatrix> matrices_;
    std::deque<WeightStack> stacks_;
    std::deque<WeightVector> vectors_;
    Batch pass_;
    std::vector<int32_t> pass_rows_;
    std::vector<Stage> seen_;  // the stages of this pass so far, to count occurrences
};

}  // namespace invar
