// The works of measurement.h on an opened model. Tokens are fixed ones of the vocabulary, so that a work is the same
// computation in every run; verbs may be others than the engine's own (variant.h), the weights are the engine's.
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

    // From now on computes with these, which outlive the subject or the next call. What the context holds stays: all
    // verbs make the same bits.
    void use(Ops& verbs) { verbs_ = &verbs; }

    // Errors: the context, the cache, the chunk or the rows of logits that the engine was opened with are too small.
    Result<void> prepare(const Work& work) override;
    Result<void> run(const Work& work) override;
    // After prepare(): a chunk of a prompt, or a step.
    Result<void> first_pass(const Work& work);
    int64_t rows_of_first_pass(const Work& work) const;
    Result<void> choose_token() override;
    Result<WorkCost> cost(const Work& work) override;

  private:
    int32_t token_at(int32_t sequence, int64_t position) const;
    // So many tokens that follow those of sequence `number`.
    std::vector<int32_t> next_tokens(int32_t number, int64_t count) const;
    Result<void> extend(int32_t number, int64_t to);  // computes positions up to `to`, in chunks
    Result<void> step(int sequences);                 // one token of each
    Result<void> evaluate(std::span<StepPiece> pieces);

    Engine& engine_;
    Ops* verbs_;
    std::vector<int32_t> sequences_;
    StepOutput first_;  // of the last step's first sequence
    Sampler greedy_;
};

}  // namespace invar
