// How well a model predicts a text, alone or beside another model that reads the same tokens. The text is cut into
// overlapping windows, every token is scored once, and what is kept is a few numbers a token, so that statistics
// (eval_statistics.h) can be made at any time and a run can be stopped and resumed (eval_state.h).
//
// A window holds `context` positions. Where the tokenizer adds a beginning-of-sequence token, each window begins with
// it. The next window starts `stride` tokens later and scores only what the one before did not reach: all tokens but
// those of the first window are predicted from at least context - stride positions.
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
    std::optional<int32_t> bos;  // put before every window
};

struct EvalWindow {
    int64_t first = 0, end = 0;  // the text's tokens that are computed: first .. end - 1
    int64_t scored = 0;          // those from here on are scored
};
struct WindowSettings {
    int64_t context = 512;  // positions of a window, bos included
    int64_t stride = 256;   // 1 .. context, less the bos
};
// Errors: a stride or context that makes no window; a text too short to score a token.
Result<std::vector<EvalWindow>> cut_windows(const EvalText& text, const WindowSettings& settings);

// One number a scored token, in the order of the text: entry i is token first + i.
struct EvalScores {
    int64_t first = 0;                // token of entry 0: 0, or 1 where no bos predicts it
    int64_t windows = 0;              // done
    std::vector<double> log_p;        // log probability that the model gave to the token
    std::vector<uint8_t> is_best;     // whether the token was the model's first choice
    std::vector<double> other_log_p;  // beside another model: the same of it, ...
    std::vector<double> kl;           // ... KL(other || model) of the whole distribution, ...
    std::vector<uint8_t> same_best;   // ... and whether their first choices agree

    int64_t count() const { return static_cast<int64_t>(log_p.size()); }
    bool has_other() const { return !other_log_p.empty(); }
};

struct Evaluation {
    ModelRunner& model;
    ModelRunner* other = nullptr;  // with the same tokens
    ThreadPool& pool;              // for the statistics of a row; not used by the models at the same time
};
// Computes windows[scores.windows] and appends what it scores. Errors: those of a pass.
Result<void> score_window(const Evaluation& evaluation, const EvalText& text, const EvalWindow& window,
                          EvalScores& scores);

}  // namespace invar
