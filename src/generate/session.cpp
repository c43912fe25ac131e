#include "generate/session.h"

#include <algorithm>

namespace invar {

Session::Session(Engine& engine) : engine_(engine), sequence_(engine.cache().add_sequence()) {}

Session::~Session() { engine_.cache().remove_sequence(sequence_); }

Result<std::span<const float>> Session::advance_to(std::span<const int32_t> tokens, const Progress& progress) {
    TRY_ASSIGN(const NextToken next, advance_to(tokens, progress, std::nullopt));
    return next.logits;
}

Result<std::span<const float>> Session::append(int32_t token) {
    TRY_ASSIGN(const NextToken next, append(token, std::nullopt));
    return next.logits;
}

Result<NextToken> Session::advance_to(std::span<const int32_t> tokens, const Progress& progress,
                                      const Request& request) {
    if (tokens.empty()) return fail("the prompt has no tokens; give at least one");
    if (static_cast<int64_t>(tokens.size()) > engine_.context()) {
        return fail("the prompt has {} tokens, but the context holds {}; shorten it or raise --context", tokens.size(),
                    engine_.context());
    }
    size_t common = 0;
    while (common < tokens.size() && common < tokens_.size() && tokens[common] == tokens_[common]) ++common;
    common = std::min(common, tokens.size() - 1);  // the last token's logits are wanted, so it is computed
    reused_ = static_cast<int64_t>(common);
    tokens_.resize(common);
    engine_.cache().truncate(sequence_, reused_);
    return compute(tokens.subspan(common), progress, request);
}

Result<NextToken> Session::append(int32_t token, const Request& request) {
    if (room() < 1) return fail("the context of {} tokens is full; start anew or raise --context", engine_.context());
    return compute({&token, 1}, nullptr, request);
}

Result<void> Session::logits_of_all(std::span<const int32_t> tokens, const LogitsSink& sink) {
    if (static_cast<int64_t>(tokens.size()) > engine_.context()) {
        return fail("the text has {} tokens, but the context holds {}; shorten it or raise --context", tokens.size(),
                    engine_.context());
    }
    engine_.cache().truncate(sequence_, 0);
    tokens_.clear();
    const auto vocabulary = static_cast<size_t>(engine_.config().vocabulary);
    while (tokens_.size() < tokens.size()) {
        const size_t start = tokens_.size();
        const size_t count = std::min(static_cast<size_t>(engine_.chunk()), tokens.size() - start);
        TRY_ASSIGN(const NextToken next, compute_chunk(tokens.subspan(start, count), Wanted::all_logits, std::nullopt));
        for (size_t i = 0; i < count; ++i)
            sink(static_cast<int64_t>(start + i), next.logits.subspan(i * vocabulary, vocabulary));
    }
    return {};
}

Result<NextToken> Session::compute_chunk(std::span<const int32_t> chunk, Wanted wanted, const Request& request) {
    const auto start = static_cast<int64_t>(tokens_.size());
    const auto count = static_cast<int64_t>(chunk.size());
    Batch batch;
    for (int64_t i = 0; i < count; ++i) {
        batch.rows.push_back({.token = chunk[static_cast<size_t>(i)], .sequence = sequence_, .position = start + i});
        if (wanted == Wanted::all_logits || i == count - 1) batch.logits_rows.push_back(static_cast<int32_t>(i));
    }
    TRY(engine_.cache().reserve(sequence_, start + count));
    NextToken next;
    if (request) {
        TRY_ASSIGN(std::vector<RankedLogits> ranked, engine_.evaluate_ranked(batch, {&*request, 1}));
        next.ranked = std::move(ranked.front());
    } else {
        TRY_ASSIGN(next.logits, engine_.evaluate(batch));
    }
    tokens_.insert(tokens_.end(), chunk.begin(), chunk.end());
    return next;
}

Result<NextToken> Session::compute(std::span<const int32_t> fresh, const Progress& progress, const Request& request) {
    NextToken next;
    const auto total = static_cast<int64_t>(fresh.size());
    for (int64_t done = 0; done < total;) {
        const int64_t count = std::min(engine_.chunk(), total - done);
        TRY_ASSIGN(next, compute_chunk(fresh.subspan(static_cast<size_t>(done), static_cast<size_t>(count)),
                                       Wanted::last_logits, request));
        done += count;
        if (progress && !progress(done, total) && done < total)
            return fail("stopped after {} of {} prompt tokens", done, total);
    }
    return next;
}

}  // namespace invar
