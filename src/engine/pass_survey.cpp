#include "engine/pass_survey.h"

#include <algorithm>

#include "load/registry.h"
#include "models/architecture.h"

namespace invar {

struct PassSurvey::Parts {
    WeightRegistry shapes;
    std::unique_ptr<Model> model;
    std::unique_ptr<SequenceState> cache;
    Batch batch;
    SurveyOps ops;
};

PassSurvey::PassSurvey(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
PassSurvey::PassSurvey(PassSurvey&&) noexcept = default;
PassSurvey& PassSurvey::operator=(PassSurvey&&) noexcept = default;
PassSurvey::~PassSurvey() = default;

std::span<const VerbCall> PassSurvey::calls() const { return parts_->ops.calls(); }
Batch& PassSurvey::batch() { return parts_->batch; }

Result<PassSurvey> PassSurvey::of(const ModelConfig& config, const WeightPlan& plan, Batch batch) {
    const auto all = architectures();
    const auto found =
        std::find_if(all.begin(), all.end(), [&](const Architecture* one) { return one->name == config.architecture; });
    if (found == all.end())
        return fail(ErrorKind::unsupported, "architecture '{}' is not one of ours; see invar models",
                    config.architecture);
    auto parts = std::make_unique<Parts>();
    parts->shapes = WeightRegistry::without_memory(plan);
    TRY_ASSIGN(parts->model, (*found)->build(config, parts->shapes));
    parts->cache = SequenceState::without_memory(config.state_geometry(plan.cache_type, plan.layer_places));
    int32_t last = -1;
    for (const BatchRow& row : batch.rows) last = std::max(last, row.sequence);
    for (int32_t sequence = 0; sequence <= last; ++sequence) parts->cache->add_sequence();
    parts->batch = std::move(batch);
    parts->ops.begin_pass();
    parts->model->forward(parts->ops, parts->batch, *parts->cache);
    return PassSurvey(std::move(parts));
}

Batch batch_of(int64_t first_position, int64_t rows, int64_t logits_rows) {
    Batch batch;
    for (int64_t i = 0; i < rows; ++i)
        batch.rows.push_back({.token = 0, .sequence = 0, .position = first_position + i});
    for (int64_t i = rows - logits_rows; i < rows; ++i) batch.logits_rows.push_back(static_cast<int32_t>(i));
    return batch;
}

}  // namespace invar
