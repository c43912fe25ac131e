// Runs a model on a recording's tokens and replaces the result of every verb by the recorded one, so that each verb
// gets the inputs it had in the recording. A difference is then the error of that verb alone. A plain diff also shows
// every later stage. If only the routing is forced, a wrong choice of expert can be told from a wrong product of an
// expert.
#pragma once

#include <map>
#include <set>
#include <span>
#include <vector>

#include "proof/record/compare_recordings.h"
#include "proof/record/recorder.h"

namespace invar {

enum class Force : uint8_t {
    nothing,  // replace nothing, for comparison
    routing,  // replace expert ids and weights only
    all,      // replace every result, rounded to binary32; keys and values to the cache's type
};

// Overwrites results of one sequence with those of a recording. A hook that records must come before it.
class Forcer final : public VerbHook {
  public:
    // The recording must outlive the hook.
    Forcer(const Recording& recording, int32_t sequence, Force what);
    void after(const VerbCall& call) override;

    int64_t forced_rows() const { return forced_rows_; }

  private:
    // nullptr if the recording lacks these values: missing, partial, statistics only, or of another width.
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
    const Recording& recording;  // side A; must have tokens
    Force force = Force::all;
    int64_t chunk = 512;
    std::vector<VerbHook*> before = {};  // hooks that change side B, for tests and fault injection
};

struct ReplayResult {
    RecordingComparison comparison;  // A: the recording, B: this model's own results
    Recording own;                   // B
    int64_t forced_rows = 0;         // how many results were replaced
};

// `runner` must be an engine, because results are forced in binary32, with as many rows of logits as a chunk has rows.
// Errors: the recording has no tokens, no values, or more positions than the context.
Result<ReplayResult> replay(ModelRunner& runner, const ReplayRequest& request, const Tolerances& tolerances);

}  // namespace invar
