// Replay: runs a model on a recording's tokens and, after every verb, puts the recording's result in the place of its
// own, so that each verb gets exactly what it got in the recording. What then differs is the error of that verb alone,
// not of what it received: a plain diff shows every stage behind an error, a replay shows the error. With forced
// routing alone a swapped expert (other experts, right numbers) is told from a wrong expert.
#pragma once

#include <map>
#include <set>
#include <span>
#include <vector>

#include "proof/record/compare_recordings.h"
#include "proof/record/recorder.h"

namespace invar {

enum class Force : uint8_t {
    nothing,  // plain run, for comparison
    routing,  // only expert ids and weights are the recording's
    all,  // every recorded result: numbers wider than binary32 are rounded to it, keys and values to the cache's type
};

// Overwrites results of one sequence with those of a recording. A hook that records goes before it.
class Forcer final : public VerbHook {
  public:
    // The recording outlives the hook.
    Forcer(const Recording& recording, int32_t sequence, Force what);
    void after(const VerbCall& call) override;

    int64_t forced_rows() const { return forced_rows_; }

  private:
    // nullptr where the recording has no such values: missing, partial, statistics only, of another width.
    const StageRecord* find(const VerbCall& call, std::string_view name, int64_t width) const;
    void force_result(const VerbCall& call);
    void force_routing(const VerbCall& call);
    void force_cache(const VerbCall& call);

    int32_t sequence_;
    Force what_;
    std::map<StageKey, const StageRecord*> stages_;
    std::vector<float> row_;
    int64_t forced_rows_ = 0;
};

struct ReplayRequest {
    const Recording& recording;  // A; it has tokens
    Force force = Force::all;
    int64_t chunk = 512;
    std::vector<VerbHook*> before = {};  // hooks that change B, for tests and fault injection
};

struct ReplayResult {
    RecordingComparison comparison;  // A: the recording, B: this model's own results
    int64_t forced_rows = 0;         // results that were replaced
};

// `runner` is an engine: what is forced is binary32. It has as many logits rows as a chunk. Errors: a recording without
// tokens or values, or of more positions than the context.
Result<ReplayResult> replay(ModelRunner& runner, const ReplayRequest& request, const Tolerances& tolerances);

}  // namespace invar
