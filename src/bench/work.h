// The works that are measured and what each costs: the bytes that must be read and the multiply-adds that must be done,
// summed over the calls of its passes (engine/pass_survey.h). Nothing runs here (measurement.h).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "checkpoint/weight_plan.h"
#include "engine/pass_survey.h"
#include "models/config.h"

namespace invar {

enum class WorkKind : uint8_t {
    prompt,      // `tokens` of one sequence in chunks, and the logits that follow the last
    generation,  // `tokens` steps of one sequence, one token per step
    sequences,   // `tokens` steps of `sequences` sequences together, one token of each per step
};
std::string_view work_kind_name(WorkKind kind);  // as in the enum

struct Work {
    WorkKind kind = WorkKind::prompt;
    int64_t tokens = 0;
    int64_t depth = 0;  // tokens that the context of each sequence holds before
    int sequences = 1;

    int64_t computed() const { return tokens * sequences; }
    bool operator==(const Work&) const = default;
};
std::string describe(const Work& work);  // "prompt of 512 at depth 16384"

// The cost of the whole work. Bytes are those of the stored form, each read once per pass. They are 0 for a prompt,
// where they depend on how chunks are blocked.
struct WorkCost {
    int64_t weight_bytes = 0, cache_bytes = 0;
    int64_t weight_multiply_adds = 0, attention_multiply_adds = 0;
};

// The cost of one pass: the costs of its calls (ops/verbs.h), summed.
struct PassCost {
    int64_t weight_bytes = 0;  // each weight once, without experts; for a table that is only looked up, its rows
    // Per layer: the bytes of one expert over all its matrices, and the slots of the pass, which are the most experts
    // it can read.
    std::vector<int64_t> expert_bytes, slots;
    int64_t cache_bytes = 0;  // read: keys, values and the states of recurrences
    int64_t weight_multiply_adds = 0, attention_multiply_adds = 0;
};
PassCost cost_of(const PassSurvey& survey, const WeightPlan& plan);

// `experts_read`: per layer, how many experts all passes of the work read, counted in a run. It is empty if each pass
// has one row, where the geometry says it. Errors: those of the survey.
Result<WorkCost> cost_of(const Work& work, const WeightPlan& plan, const ModelConfig& config,
                         std::span<const int64_t> experts_read);

}  // namespace invar
