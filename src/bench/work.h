// The pieces of work that are measured, and what each costs: bytes that must be read and multiply-adds that must be
// done, summed over the calls of its passes (engine/pass_survey.h). It does not run anything (measurement.h).
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
    prompt,      // `tokens` of one sequence, in chunks; the logits that follow the last
    generation,  // `tokens` steps of one sequence, a token each
    sequences,   // `tokens` steps of `sequences` sequences together, a token of each a step
};
std::string_view work_kind_name(WorkKind kind);  // as in the enum

struct Work {
    WorkKind kind = WorkKind::prompt;
    int64_t tokens = 0;
    int64_t depth = 0;  // tokens of each sequence that the context holds before
    int sequences = 1;

    int64_t computed() const { return tokens * sequences; }
    bool operator==(const Work&) const = default;
};
std::string describe(const Work& work);  // "prompt of 512 at depth 16384"

// Of the whole work. Bytes are those of the stored form, each read once a pass; of a prompt they are not stated, since
// they depend on how chunks are blocked.
struct WorkCost {
    int64_t weight_bytes = 0, cache_bytes = 0;
    int64_t weight_multiply_adds = 0, attention_multiply_adds = 0;
};

// What one pass costs: its calls' rows of the verb table (ops/verbs.h), summed.
struct PassCost {
    int64_t weight_bytes = 0;  // each weight once, without experts; of a table that is only looked up, the rows
    // By layer: bytes of one expert, over all matrices it has, and the slots of the pass, the most experts it can read.
    std::vector<int64_t> expert_bytes, slots;
    int64_t cache_bytes = 0;  // read
    int64_t weight_multiply_adds = 0, attention_multiply_adds = 0;
};
PassCost cost_of(const PassSurvey& survey, const WeightPlan& plan);

// `experts_read`: by layer, how many experts the passes of the work read in all, counted where it ran; empty where that
// follows from the geometry, because each pass has one row. Errors: those of the survey.
Result<WorkCost> cost_of(const Work& work, const WeightPlan& plan, const ModelConfig& config,
                         std::span<const int64_t> experts_read);

}  // namespace invar
