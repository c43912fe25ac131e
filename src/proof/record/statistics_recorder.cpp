#include "proof/record/statistics_recorder.h"

#include <algorithm>

namespace invar {
namespace {

ElementType type_of(const StageRow& row) {
    return row.f64 != nullptr ? ElementType::f64 : row.i32 != nullptr ? ElementType::i32 : ElementType::f32;
}

const std::byte* bytes_of(const StageRow& row) {
    return row.f64 != nullptr   ? reinterpret_cast<const std::byte*>(row.f64)
           : row.i32 != nullptr ? reinterpret_cast<const std::byte*>(row.i32)
                                : reinterpret_cast<const std::byte*>(row.f32);
}

}  // namespace

StatisticsRecorder::StatisticsRecorder(const ModelRunner& runner, int32_t sequence, StageSelection selection)
    : runner_(runner), sequence_(sequence), rows_(runner, std::move(selection), [this](const StageRow& row) {
          if (row.sequence == sequence_) add(row);
      }) {}

void StatisticsRecorder::add(const StageRow& row) {
    const auto [place, fresh] = places_.try_emplace(row.key, stages_.size());
    const ElementType type = type_of(row);
    if (fresh) {
        stages_.push_back({.key = row.key,
                           .verb = std::string(verb_name(row.call->verb)),
                           .kernel = std::string(runner_.kernel_of(*row.call)),
                           .type = type,
                           .shape = shape_of(row)});
    }
    StageRecord& stage = stages_[place->second];
    // If a stage grows with the position, its shape is the widest.
    stage.shape.back() = std::max(stage.shape.back(), row.width);
    stage.positions.push_back(row.position);
    stage.statistics.push_back(statistics_of(type, bytes_of(row), row.slots * row.width));
}

Recording StatisticsRecorder::take() {
    Recording recording;
    recording.stages = std::move(stages_);
    stages_.clear();
    places_.clear();
    return recording;
}

void keep_statistics_only(StageRecord& stage) {
    if (!stage.statistics.empty()) return;
    std::vector<StageStatistics> statistics;
    for (size_t i = 0; i < stage.positions.size(); ++i)
        statistics.push_back(statistics_at(stage, static_cast<int64_t>(i)));
    stage.statistics = std::move(statistics);
    stage.data = {};
}

}  // namespace invar
