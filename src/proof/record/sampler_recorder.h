// Records what a sampler did (generate/sampler.h) as stages after the logits: sampler.penalised, sampler.candidates
// (ids in rank order, filled with -1), sampler.probabilities (filled with 0), sampler.chosen. They stand at the
// position whose logits they read, one before that of the token they choose.
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

    // Adds the stages behind those of the recording.
    void append_to(Recording& recording);

  private:
    void add(const char* name, int64_t position, ElementType type, std::span<const std::byte> values);

    StageSelection selection_;
    std::vector<StageRecord> stages_;
};

}  // namespace invar
