// Records the steps of a sampler (generate/sampler.h) as stages after the logits: sampler.penalised, sampler.candidates
// (ids in rank order, padded with -1), sampler.probabilities (padded with 0) and sampler.chosen. Their position is that
// of the logits they were made from, one before the chosen token.
#pragma once

#include "generate/sampler.h"
#include "proof/record/recorder.h"

namespace invar {

class SamplerRecorder final : public SamplerObserver {
  public:
    explicit SamplerRecorder(StageSelection selection) : selection_(std::move(selection)) {}

    void penalised(int64_t position, std::span<const float> logits) override;
    void candidates(int64_t position, std::span<const int32_t> tokens, std::span<const float> probabilities) override;
    void chosen(int64_t position, const SampledToken& token) override;

    // Appends these stages to a recording.
    void append_to(Recording& recording);

  private:
    void add(const char* name, int64_t position, ElementType type, std::span<const std::byte> values);

    StageSelection selection_;
    std::vector<StageRecord> stages_;
};

}  // namespace invar
