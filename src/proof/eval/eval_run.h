// Runs an evaluation from its first missing window to the last, and keeps its state on disk if asked to.
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
    std::filesystem::path state;  // the file of the state; empty: none
    int64_t most_windows = 0;     // how many windows this run computes; 0: all
};
// Called after every window. Returning false stops the run after saving the state.
using EvalProgress = std::function<bool(const EvalScores& scores, int64_t windows)>;
Result<EvalScores> run_eval(const Evaluation& evaluation, const EvalRequest& request, const EvalProgress& progress);

struct EvalReport {
    std::string model, other, text;  // other: "" if there is none
    int64_t text_tokens = 0, windows_done = 0, windows = 0;
    WindowSettings settings;
    EvalSummary summary;
};
Json eval_as_json(const EvalReport& report);
std::string eval_as_text(const EvalReport& report);

}  // namespace invar
