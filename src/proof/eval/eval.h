// Measures how well a model predicts a text, alone or together with another model that reads the same tokens. The text
// is cut into overlapping windows and every token is scored once. Only a few numbers per token are kept, from which
// statistics can be made at any time (eval_statistics.h), and a run can be stopped and resumed (eval_state.h).
//
// A window holds `context` positions. If the tokenizer adds a beginning-of-sequence token (bos), each window begins
// with it. The next window starts `stride` tokens later and scores only tokens that no window scored before. So every
// token but those of the first window is predicted from at least context - stride positions.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "base/result.h"
#include "machine/thread_pool.h"
#include "proof/record/model_runner.h"

namespace invar {

struct EvalText {
    std::vector<int32_t> tokens;
    std::optional<int32_t> bos;  // begins every window
};

struct EvalWindow {
    int64_t first = 0, end = 0;  // the window computes tokens first .. end - 1 of the text
    int64_t scored = 0;          // it scores the tokens from this one on
};
struct WindowSettings {
    int64_t context = 512;  // positions of a window, including bos
    int64_t stride = 256;   // from 1 to context - 1, or to context - 2 if there is a bos
};
// Errors: a stride or context that makes no window; a text too short to score any token.
Result<std::vector<EvalWindow>> cut_windows(const EvalText& text, const WindowSettings& settings);

// One number per scored token, in the order of the text: entry i is token first + i.
struct EvalScores {
    int64_t first = 0;                // the token of entry 0: 0, or 1 if there is no bos to predict it from
    int64_t windows = 0;              // windows scored so far
    std::vector<double> log_p;        // log probability that the model gave to the token
    std::vector<uint8_t> is_best;     // whether the token was the model's first choice
    std::vector<double> other_log_p;  // with another model: its log probability of the token
    std::vector<double> kl;           // KL(other || model) of the whole distribution
    std::vector<uint8_t> same_best;   // whether the first choices of both agree

    int64_t count() const { return static_cast<int64_t>(log_p.size()); }
    bool has_other() const { return !other_log_p.empty(); }
};

struct Evaluation {
    ModelRunner& model;
    ModelRunner* other = nullptr;  // reads the same tokens; nullptr: none
    ThreadPool& pool;              // for the statistics of a row; the models do not use it at the same time
};
// Computes windows[scores.windows] and appends what it scores. Errors: those of a pass.
Result<void> score_window(const Evaluation& evaluation, const EvalText& text, const EvalWindow& window,
                          EvalScores& scores);

}  // namespace invar
