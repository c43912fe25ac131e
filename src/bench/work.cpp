#include "bench/work.h"

#include <algorithm>

namespace invar {
namespace {

int64_t elements_of(const std::vector<int64_t>& shape) {
    int64_t elements = 1;
    for (const int64_t side : shape) elements *= side;
    return elements;
}

int64_t seen_at(int64_t position, const AttentionGeometry& layer) {
    return layer.window > 0 ? std::min<int64_t>(position + 1, layer.window) : position + 1;
}

}  // namespace

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

PassCost::PassCost(const WeightPlan& plan, const ModelConfig& config) : plan_(plan), config_(config) {
    const int64_t per_token = config.most_experts_per_token();
    const PlanEntry* head = nullptr;
    for (const PlanEntry& entry : plan.entries) {
        if (entry.makes_logits) head = &entry;
    }
    const bool tied = head == nullptr || head->alias_of.has_value();
    for (const PlanEntry& entry : plan.entries) {
        if (entry.alias_of) continue;
        const bool is_embedding = entry.looked_up_by_row;
        if (entry.kind == WeightShape::stack) {
            expert_bytes_.resize(config.layers.size());
            expert_bytes_[static_cast<size_t>(entry.id.layer)] += entry.bytes / entry.shape[0];
            row_multiply_adds_ += elements_of(entry.shape) / entry.shape[0] * per_token;
        } else if (is_embedding && !tied) {
            looked_up_bytes_ += entry.bytes / entry.shape[0];
        } else {
            fixed_bytes_ += entry.bytes;
            const bool is_head = is_embedding || entry.makes_logits;
            if (entry.kind == WeightShape::matrix)
                (is_head ? logits_multiply_adds_ : row_multiply_adds_) += elements_of(entry.shape);
        }
    }
}

int64_t PassCost::cache_bytes(int64_t position) const {
    int64_t total = 0;
    for (const LayerSpec& layer : config_.layers) {
        const AttentionGeometry* a = layer.attention();
        if (a != nullptr) total += seen_at(position, *a) * a->kv_heads * (a->key_width + a->value_width);
    }
    return total * cache_type_bytes(plan_.cache_type);
}

int64_t PassCost::attention_multiply_adds(int64_t position) const {
    int64_t total = 0;
    for (const LayerSpec& layer : config_.layers) {
        const AttentionGeometry* a = layer.attention();
        if (a != nullptr) total += seen_at(position, *a) * a->heads * (a->key_width + a->value_width);
    }
    return total;
}

WorkCost cost_of(const Work& work, const WeightPlan& plan, const ModelConfig& config,
                 std::span<const int64_t> experts_read) {
    const PassCost pass(plan, config);
    WorkCost cost;
    for (int64_t i = 0; i < work.tokens; ++i) {
        const int64_t position = work.depth + i;
        cost.attention_multiply_adds += work.sequences * pass.attention_multiply_adds(position);
        if (work.kind != WorkKind::prompt) cost.cache_bytes += work.sequences * pass.cache_bytes(position);
    }
    if (work.kind == WorkKind::prompt) {
        const int64_t chunks = (work.tokens + plan.chunk - 1) / plan.chunk;  // each gives one row of logits
        cost.weight_multiply_adds = pass.weight_multiply_adds(work.tokens, chunks);
        return cost;
    }
    cost.weight_bytes = work.tokens * pass.weight_bytes(work.sequences);
    for (size_t layer = 0; layer < pass.expert_bytes().size(); ++layer) {
        const int64_t experts =
            experts_read.empty() ? work.tokens * config.most_experts_per_token() : experts_read[layer];
        cost.weight_bytes += experts * pass.expert_bytes()[layer];
    }
    cost.weight_multiply_adds = pass.weight_multiply_adds(work.computed(), work.computed());
    return cost;
}

}  // namespace invar
