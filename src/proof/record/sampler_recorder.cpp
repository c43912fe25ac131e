#include "proof/record/sampler_recorder.h"

#include <algorithm>

namespace invar {

void SamplerRecorder::penalised(int64_t position, std::span<const float> logits) {
    add("sampler.penalised", position, ElementType::f32, std::as_bytes(logits));
}

void SamplerRecorder::candidates(int64_t position, std::span<const int32_t> tokens,
                                 std::span<const float> probabilities) {
    add("sampler.candidates", position, ElementType::i32, std::as_bytes(tokens));
    add("sampler.probabilities", position, ElementType::f32, std::as_bytes(probabilities));
}

void SamplerRecorder::chosen(int64_t position, const SampledToken& token) {
    add("sampler.chosen", position, ElementType::i32, std::as_bytes(std::span(&token.token, 1)));
}

void SamplerRecorder::add(const char* name, int64_t position, ElementType type, std::span<const std::byte> values) {
    const StageKey key{-1, name};
    if (!selection_.wants_stage(key.layer, key.name) || !selection_.wants_position(position - 1)) return;
    StageRecord row{.key = key, .verb = "sample", .type = type, .positions = {position - 1}};
    row.shape = {static_cast<int64_t>(values.size()) / element_bytes(type)};
    row.data.assign(values.begin(), values.end());
    const auto found =
        std::find_if(stages_.begin(), stages_.end(), [&](const auto& stage) { return stage.key == key; });
    if (found == stages_.end()) {
        stages_.push_back(std::move(row));
        return;
    }
    const int64_t width = std::max(found->shape[0], row.shape[0]);
    for (StageRecord* stage : {&*found, &row}) {
        if (stage->shape[0] < width) widen_rows(*stage, width);
    }
    found->positions.push_back(position - 1);
    found->data.insert(found->data.end(), row.data.begin(), row.data.end());
}

void SamplerRecorder::append_to(Recording& recording) {
    for (StageRecord& stage : stages_) recording.stages.push_back(std::move(stage));
    stages_.clear();
}

}  // namespace invar
