// Runs the works of measurement.h on an opened model. The tokens are fixed, so that a work is the same computation in
// every run. The verbs may be others than the engine's own (variant.h); the weights are the engine's.
#pragma once

#include <vector>

#include "bench/measurement.h"
#include "engine/engine.h"
#include "generate/sampler.h"

namespace invar {

class EngineSubject final : public Subject {
  public:
    EngineSubject(Engine& engine, Ops& verbs);
    ~EngineSubject() override;
    EngineSubject(const EngineSubject&) = delete;
    EngineSubject& operator=(const EngineSubject&) = delete;

    // Uses these verbs from now on; they must outlive the subject or the next call. The context is kept, because all
    // verbs compute the same bits.
    void use(Ops& verbs) { verbs_ = &verbs; }

    // Errors: the engine was opened with too small a context, cache, chunk or number of rows of logits.
    Result<void> prepare(const Work& work) override;
    Result<void> run(const Work& work) override;
    // Call prepare() first. Computes one chunk of a prompt, or one step.
    Result<void> first_pass(const Work& work);
    int64_t rows_of_first_pass(const Work& work) const;
    Result<void> choose_token() override;
    Result<WorkCost> cost(const Work& work) override;

  private:
    int32_t token_at(int32_t sequence, int64_t position) const;
    // The `count` tokens that follow those of sequence `number`.
    std::vector<int32_t> next_tokens(int32_t number, int64_t count) const;
    Result<void> extend(int32_t number, int64_t to);  // computes positions up to `to`, in chunks
    Result<void> step(int sequences);                 // computes one token of each sequence
    Result<void> evaluate(std::span<StepPiece> pieces);

    Engine& engine_;
    Ops* verbs_;
    std::vector<int32_t> sequences_;
    StepOutput first_;  // the output for the first sequence of the last step
    Sampler greedy_;
};

}  // namespace invar
