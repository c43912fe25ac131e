// An evaluation from its first missing window to its last, with its state kept on disk where that is asked for.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "base/json_fwd.h"
#include "proof/eval/eval.h"
#include "proof/eval/eval_state.h"
#include "proof/eval/eval_statistics.h"

namespace invar {

struct EvalRequest {
    EvalText text;
    std::vector<EvalWindow> windows;
    EvalIdentity identity;
    std::filesystem::path state;  // empty: none
    int64_t most_windows = 0;     // computed by this run; 0: all
};
// After every window; false stops, with the state saved.
using EvalProgress = std::function<bool(const EvalScores& scores, int64_t windows)>;
Result<EvalScores> run_eval(const Evaluation& evaluation, const EvalRequest& request, const EvalProgress& progress);

struct EvalReport {
    std::string model, other, text;  // other: "" where there is none
    int64_t text_tokens = 0, windows_done = 0, windows = 0;
    WindowSettings settings;
    EvalSummary summary;
};
Json eval_as_json(const EvalReport& report);
std::string eval_as_text(const EvalReport& report);

}  // namespace invar
