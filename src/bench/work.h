// The pieces of work that are measured, and what each costs: bytes that must be read and multiply-adds that must be
// done, counted from the plan and the geometry alone. It does not run anything (measurement.h).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "checkpoint/weight_plan.h"
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

// What one pass over some rows costs.
class PassCost {
  public:
    PassCost(const WeightPlan& plan, const ModelConfig& config);

    // Weights that a pass of `rows` rows reads, less its experts.
    int64_t weight_bytes(int64_t rows) const { return fixed_bytes_ + rows * looked_up_bytes_; }
    // Of one expert, by layer; empty for a dense model. A row is sent to as many as a token needs of them.
    std::span<const int64_t> expert_bytes() const { return expert_bytes_; }
    int64_t weight_multiply_adds(int64_t rows, int64_t logits_rows) const {
        return rows * row_multiply_adds_ + logits_rows * logits_multiply_adds_;
    }
    // Of the query at `position`, which sees itself and what is before it (or its window).
    int64_t cache_bytes(int64_t position) const;
    int64_t attention_multiply_adds(int64_t position) const;

  private:
    const WeightPlan& plan_;
    const ModelConfig& config_;
    int64_t fixed_bytes_ = 0, looked_up_bytes_ = 0;
    std::vector<int64_t> expert_bytes_;
    int64_t row_multiply_adds_ = 0, logits_multiply_adds_ = 0;
};

// `experts_read`: by layer, how many experts the passes of the work read in all, counted by who ran it; empty where
// that follows from the geometry, because each pass has one row.
WorkCost cost_of(const Work& work, const WeightPlan& plan, const ModelConfig& config,
                 std::span<const int64_t> experts_read);

}  // namespace invar
