// Records statistics and a hash of every result instead of its values, for models whose whole recording would not fit.
// Two such recordings still show whether and where bits differ, but not by how much.
#pragma once

#include <map>

#include "proof/record/recorder.h"

namespace invar {

// Records one sequence, whose positions must come in rising order.
class StatisticsRecorder final : public VerbHook {
  public:
    StatisticsRecorder(const ModelRunner& runner, int32_t sequence, StageSelection selection);
    void begin_pass() override { rows_.begin_pass(); }
    Looks looks() const override { return Looks::at_results; }
    void after(const VerbCall& call) override { rows_.after(call); }

    Recording take();

  private:
    void add(const StageRow& row);

    const ModelRunner& runner_;
    int32_t sequence_;
    StageRows rows_;
    std::vector<StageRecord> stages_;
    std::map<StageKey, size_t> places_;
};

// Reduces a stage with values to what this recorder would have kept.
void keep_statistics_only(StageRecord& stage);

}  // namespace invar
