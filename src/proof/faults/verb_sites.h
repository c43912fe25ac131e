// Lists every place where a model's pass calls a verb, in forward order, for any architecture. A pass that computes
// nothing finds them, and fault injection chooses among them. This file knows verbs and shapes and nothing about faults
// (faults.h).
#pragma once

#include <optional>
#include <vector>

#include "checkpoint/weight_plan.h"
#include "ops/verb_call.h"
#include "proof/record/recording.h"

namespace invar {

struct VerbSite {
    Verb verb = Verb::embed;
    StageKey key;       // as recorded; store_kv and route have several stages (recorder.h), so it is their own name
    int64_t width = 0;  // of a result row (of one slot); 0 for store_kv and route
    int64_t input_width = 0;        // of a row of the first input
    int64_t second_width = 0;       // of a row of the second input; 0: it has none
    bool wanted_rows_only = false;  // after gather_rows, so only rows whose logits are wanted are computed

    std::optional<WeightId> weight;  // the weight it reads
    const Format* format = nullptr;  // of a matrix or a stack
    int64_t rows = 0, columns = 0;   // of the matrix, or of one expert
    int64_t experts = 0;             // of a stack
    int heads = 0, kv_heads = 0;     // of attention and store_kv
    int other_layer = -1;  // of attention to the cache of an earlier layer: another whose cache has the same shape
    CacheType cache_type = CacheType::f16;
    int experts_per_row = 0;               // of verbs with expert slots, including the activation between them
    int64_t routed = 0;                    // how many experts route chooses among
    TableRow table_row = TableRow::token;  // of embed
    float factor = 0;                      // of scale
    float softcap = 0;                     // of attention; 0: none
    Reach reach = Reach::causal;           // of attention
    std::optional<RouteSpec> route;
    std::optional<ActivationSpec> activation;
    std::optional<PositionScale> position_scale;
    std::optional<RecurrenceHeads> recurrence;  // of the verbs that change a recurrence

    bool is_product() const { return verb == Verb::linear || verb == Verb::expert_linear; }
    bool has_vector() const { return weight.has_value() && format == nullptr; }
};

// Errors: an unknown architecture.
Result<std::vector<VerbSite>> survey_verbs(const ModelConfig& config, const WeightPlan& plan);

}  // namespace invar
