#include "proof/eval/eval.h"

#include <algorithm>

#include "proof/eval/next_token.h"

namespace invar {
namespace {

// One window on one runner. It owns a fresh sequence and removes it when it is destroyed.
class WindowRun {
  public:
    explicit WindowRun(ModelRunner& runner) : runner_(runner), sequence_(runner.cache().add_sequence()) {}
    ~WindowRun() { runner_.cache().remove_sequence(sequence_); }
    WindowRun(const WindowRun&) = delete;
    WindowRun& operator=(const WindowRun&) = delete;

    // Computes a piece and gives the logits [wanted, vocabulary] of positions first_wanted .. start + tokens - 1.
    Result<std::span<const float>> compute(std::span<const int32_t> tokens, int64_t start, int64_t first_wanted) {
        Batch batch;
        for (size_t i = 0; i < tokens.size(); ++i) {
            const int64_t position = start + static_cast<int64_t>(i);
            batch.rows.push_back({.token = tokens[i], .sequence = sequence_, .position = position});
            if (position >= first_wanted) batch.logits_rows.push_back(static_cast<int32_t>(i));
        }
        TRY(reserve_rows(runner_.cache(), batch));
        TRY_ASSIGN(const std::span<const float> logits, runner_.evaluate(batch, {}));
        advance_rows(runner_.cache(), batch);
        return logits;
    }

  private:
    ModelRunner& runner_;
    int32_t sequence_;
};

// Fills in the scores of one token.
void score_row(std::span<const float> row, std::span<const float> other_row, int32_t token, size_t at,
               EvalScores& scores) {
    const NextToken next = next_token(row);
    const auto t = static_cast<size_t>(token);
    scores.log_p[at] = row[t] - next.log_sum;
    scores.is_best[at] = next.best == token ? 1 : 0;
    if (other_row.empty()) return;
    const NextToken other = next_token(other_row);
    scores.other_log_p[at] = other_row[t] - other.log_sum;
    scores.kl[at] = kl_divergence({other_row, other}, {row, next});
    scores.same_best[at] = next.best == other.best ? 1 : 0;
}

}  // namespace

Result<std::vector<EvalWindow>> cut_windows(const EvalText& text, const WindowSettings& settings) {
    const int64_t bos = text.bos ? 1 : 0;
    const int64_t body = settings.context - bos;
    const auto count = static_cast<int64_t>(text.tokens.size());
    if (body < 2) return fail("--context is {}, but a window needs at least {} positions", settings.context, 2 + bos);
    // At least one token must stand before the first that a window scores.
    if (settings.stride < 1 || settings.stride >= body) {
        return fail("--stride is {}, but with --context {} it must be between 1 and {}", settings.stride,
                    settings.context, body - 1);
    }
    if (count < 2 - bos) return fail("the text has {} tokens, but at least {} are needed to score one", count, 2 - bos);
    std::vector<EvalWindow> windows;
    int64_t scored = 1 - bos;
    for (int64_t first = 0; scored < count; first += settings.stride) {
        const int64_t end = std::min(first + body, count);
        windows.push_back({.first = first, .end = end, .scored = scored});
        scored = end;
    }
    return windows;
}

Result<void> score_window(const Evaluation& evaluation, const EvalText& text, const EvalWindow& window,
                          EvalScores& scores) {
    std::vector<int32_t> tokens;
    if (text.bos) tokens.push_back(*text.bos);
    const int64_t shift = window.first - static_cast<int64_t>(tokens.size());  // the token at position 0
    tokens.insert(tokens.end(), text.tokens.begin() + window.first, text.tokens.begin() + window.end);
    tokens.pop_back();  // the last token is only predicted
    const int64_t first_wanted = window.scored - shift - 1;

    WindowRun model(evaluation.model);
    std::optional<WindowRun> other;
    if (evaluation.other != nullptr) other.emplace(*evaluation.other);
    int64_t chunk = evaluation.model.chunk();
    if (evaluation.other != nullptr) chunk = std::min(chunk, evaluation.other->chunk());
    const auto vocabulary = static_cast<size_t>(evaluation.model.config().vocabulary);

    const auto total = static_cast<int64_t>(tokens.size());
    EvalScores fresh;  // of this window alone, so that an error leaves no half of a window behind
    for (int64_t start = 0; start < total; start += chunk) {
        const int64_t count = std::min(chunk, total - start);
        const std::span<const int32_t> piece(tokens.data() + start, static_cast<size_t>(count));
        TRY_ASSIGN(const std::span<const float> logits, model.compute(piece, start, first_wanted));
        std::span<const float> other_logits;
        if (other) {
            TRY_ASSIGN(other_logits, other->compute(piece, start, first_wanted));
        }
        const size_t rows = logits.size() / vocabulary, before = fresh.log_p.size();
        fresh.log_p.resize(before + rows);
        fresh.is_best.resize(before + rows);
        if (other) {
            fresh.other_log_p.resize(before + rows);
            fresh.kl.resize(before + rows);
            fresh.same_best.resize(before + rows);
        }
        const int64_t scored = window.scored + static_cast<int64_t>(before);  // the token that row 0 predicts
        evaluation.pool.parallel_items(static_cast<int64_t>(rows), [&](int64_t row, int) {
            const auto r = static_cast<size_t>(row);
            const auto other_row = other ? other_logits.subspan(r * vocabulary, vocabulary) : other_logits;
            score_row(logits.subspan(r * vocabulary, vocabulary), other_row,
                      text.tokens[static_cast<size_t>(scored + row)], before + r, fresh);
        });
    }
    const auto append = [](auto& to, const auto& from) { to.insert(to.end(), from.begin(), from.end()); };
    if (scores.windows == 0) scores.first = window.scored;
    append(scores.log_p, fresh.log_p);
    append(scores.is_best, fresh.is_best);
    append(scores.other_log_p, fresh.other_log_p);
    append(scores.kl, fresh.kl);
    append(scores.same_best, fresh.same_best);
    ++scores.windows;
    return {};
}

}  // namespace invar
