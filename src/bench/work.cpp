#include "bench/work.h"

#include <algorithm>
#include <map>

namespace invar {
std::string_view work_kind_name(WorkKind kind) {
    switch (kind) {
        case WorkKind::prompt:
            return "prompt";
        case WorkKind::generation:
            return "generation";
        case WorkKind::sequences:
            return "sequences";
    }
    return "unknown";
}

std::string describe(const Work& work) {
    const std::string what = work.kind == WorkKind::sequences
                                 ? fmt::format("{} sequences", work.sequences)
                                 : fmt::format("{} of {}", work_kind_name(work.kind), work.tokens);
    return work.depth > 0 ? fmt::format("{} at depth {}", what, work.depth) : what;
}

PassCost cost_of(const PassSurvey& survey, const WeightPlan& plan) {
    const auto owner_of = [&](WeightId id) {
        const auto at =
            std::find_if(plan.entries.begin(), plan.entries.end(), [&](const PlanEntry& one) { return one.id == id; });
        return at != plan.entries.end() && at->alias_of ? *at->alias_of : id;
    };
    PassCost pass;
    std::map<WeightId, int64_t> read;  // bytes per weight: one that several calls need is read once
    for (const VerbCall& call : survey.calls()) {
        const VerbCost cost = cost_of(call.verb, call);
        const auto layer = static_cast<size_t>(std::max(0, call.stage.layer));
        if (cost.expert_bytes > 0) {
            pass.expert_bytes.resize(std::max(pass.expert_bytes.size(), layer + 1));
            pass.slots.resize(pass.expert_bytes.size());
            pass.expert_bytes[layer] += cost.expert_bytes;
            pass.slots[layer] = call.slots.rows * call.slots.experts_per_row;
        }
        if (call.matrix != nullptr || call.vector != nullptr) {
            int64_t& bytes = read[owner_of(call.matrix != nullptr ? call.matrix->id : call.vector->id)];
            bytes = std::max(bytes, cost.weight_bytes);
        }
        const bool reads_cache = row_of(call.verb).reads(verb_field::cache);
        if (reads_cache) pass.cache_bytes += cost.cache_bytes;
        pass.cache_bytes += cost.state_bytes;
        (reads_cache ? pass.attention_multiply_adds : pass.weight_multiply_adds) += cost.multiply_adds;
    }
    for (const auto& [id, bytes] : read) pass.weight_bytes += bytes;
    return pass;
}

namespace {

// The prompt is computed in chunks, each of which gives one row of logits.
Result<WorkCost> cost_of_prompt(const Work& work, const WeightPlan& plan, const ModelConfig& config) {
    WorkCost cost;
    for (int64_t done = 0; done < work.tokens; done += plan.chunk) {
        const int64_t rows = std::min(plan.chunk, work.tokens - done);
        TRY_ASSIGN(const PassSurvey survey, PassSurvey::of(config, plan, batch_of(work.depth + done, rows, 1)));
        const PassCost pass = cost_of(survey, plan);
        cost.weight_multiply_adds += pass.weight_multiply_adds;
        cost.attention_multiply_adds += pass.attention_multiply_adds;
    }
    return cost;
}

}  // namespace

Result<WorkCost> cost_of(const Work& work, const WeightPlan& plan, const ModelConfig& config,
                         std::span<const int64_t> experts_read) {
    if (work.kind == WorkKind::prompt) return cost_of_prompt(work, plan, config);
    Batch batch;
    for (int32_t i = 0; i < work.sequences; ++i) {
        batch.rows.push_back({.token = 0, .sequence = i, .position = work.depth});
        batch.logits_rows.push_back(i);
    }
    TRY_ASSIGN(PassSurvey survey, PassSurvey::of(config, plan, std::move(batch)));
    WorkCost cost;
    for (int64_t step = 0; step < work.tokens; ++step) {
        for (BatchRow& row : survey.batch().rows) row.position = work.depth + step;
        const PassCost pass = cost_of(survey, plan);
        cost.weight_bytes += pass.weight_bytes;
        for (size_t layer = 0; layer < pass.slots.size() && experts_read.empty(); ++layer)
            cost.weight_bytes += pass.slots[layer] * pass.expert_bytes[layer];
        cost.cache_bytes += pass.cache_bytes;
        cost.weight_multiply_adds += pass.weight_multiply_adds;
        cost.attention_multiply_adds += pass.attention_multiply_adds;
    }
    const PassCost pass = cost_of(survey, plan);
    for (size_t layer = 0; layer < pass.expert_bytes.size() && !experts_read.empty(); ++layer)
        cost.weight_bytes += experts_read[layer] * pass.expert_bytes[layer];
    return cost;
}

}  // namespace invar
