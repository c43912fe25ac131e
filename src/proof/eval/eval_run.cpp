#include "proof/eval/eval_run.h"

#include <algorithm>
#include <chrono>

namespace invar {
namespace {

using Clock = std::chrono::steady_clock;

// Saves the state every ten seconds at most, and so that saving takes at most a twentieth of the time.
class StateKeeper {
  public:
    StateKeeper(const EvalRequest& request) : request_(request), due_(Clock::now() + kLeast) {}

    Result<void> keep(const EvalScores& scores) {
        if (request_.state.empty() || Clock::now() < due_) return {};
        return save(scores);
    }
    Result<void> save(const EvalScores& scores) {
        if (request_.state.empty()) return {};
        const auto start = Clock::now();
        TRY(save_scores(request_.state, request_.identity, scores));
        const auto end = Clock::now();
        due_ = end + std::max<Clock::duration>(kLeast, 20 * (end - start));
        return {};
    }

  private:
    static constexpr std::chrono::seconds kLeast{10};
    const EvalRequest& request_;
    Clock::time_point due_;
};

Result<EvalScores> begin(const EvalRequest& request) {
    if (request.state.empty()) return EvalScores{};
    TRY_ASSIGN(const std::optional<EvalScores> found, load_scores(request.state, request.identity));
    if (!found || found->windows == 0) return EvalScores{};
    const auto total = static_cast<int64_t>(request.windows.size());
    const int64_t first = request.windows[0].scored;
    const int64_t expected =
        found->windows > total ? -1 : request.windows[static_cast<size_t>(found->windows - 1)].end - first;
    if (found->count() != expected || found->first != first) {
        return fail("{}: has {} scores of {} windows, which do not belong together; delete the file to start anew",
                    request.state.string(), found->count(), found->windows);
    }
    return *found;
}

}  // namespace

Result<EvalScores> run_eval(const Evaluation& evaluation, const EvalRequest& request, const EvalProgress& progress) {
    TRY_ASSIGN(EvalScores scores, begin(request));
    const auto total = static_cast<int64_t>(request.windows.size());
    const int64_t end = request.most_windows > 0 ? std::min(total, scores.windows + request.most_windows) : total;
    StateKeeper keeper(request);
    while (scores.windows < end) {
        const EvalWindow& window = request.windows[static_cast<size_t>(scores.windows)];
        TRY(score_window(evaluation, request.text, window, scores));
        TRY(keeper.keep(scores));
        if (progress && !progress(scores, total)) break;
    }
    TRY(keeper.save(scores));
    return scores;
}

}  // namespace invar
