// Computes a step. Pieces that cannot be computed are refused first, and one pass computes the rest. If a result of the
// pass is not finite, no sequence advances and the pass is repeated in halves until the pieces at fault are alone. A
// row's bits do not depend on the rows beside it, so the other pieces get the results they would have got anyway.
#include "engine/step.h"

#include <algorithm>
#include <utility>

#include "engine/engine.h"

namespace invar {
namespace {

// Computes the pieces of one pass. Either they ask for ranks and for nothing, or for logits and for nothing: no pass
// gives both logits and ranks.
class StepRun {
  public:
    StepRun(Engine& engine, Ops& verbs, std::span<const StepPiece> pieces, StepResults& results,
            std::vector<std::vector<float>>& kept)
        : engine_(engine), verbs_(verbs), pieces_(pieces), results_(results), kept_(kept) {}

    // `chosen` holds indices of pieces. `last`: no other pass of this step follows. Errors: the machine failed.
    Result<void> run(std::span<const size_t> chosen, bool last) {
        if (chosen.empty()) return {};
        const Batch batch = batch_of(chosen);
        const bool ranked =
            std::ranges::any_of(chosen, [&](size_t piece) { return pieces_[piece].ranked.has_value(); });
        Result<void> done = ranked ? run_ranked(chosen, batch) : run_logits(chosen, batch, last);
        if (done) {
            for (const size_t piece : chosen) engine_.cache().advance(pieces_[piece].sequence, pieces_[piece].tokens);
            return {};
        }
        if (done.error().kind != ErrorKind::numeric) return done;
        for (const size_t piece : chosen) TRY(restore(pieces_[piece]));
        if (chosen.size() == 1) {
            results_[chosen.front()] = pass_on(std::move(done));
            return {};
        }
        const size_t half = chosen.size() / 2;
        TRY(run(chosen.first(half), false));
        return run(chosen.subspan(half), last);
    }

  private:
    // The pass that failed has changed the states of recurrences. They are computed again from the last snapshot, up to
    // where the sequence was; its tokens have been computed before without an error.
    Result<void> restore(const StepPiece& piece) {
        SequenceState& cache = engine_.cache();
        if (!cache.has_recurrences()) return {};
        const int64_t length = cache.length(piece.sequence);
        const std::span<const int32_t> held = cache.tokens(piece.sequence);
        CHECK(std::ssize(held) == length, "a step knows the tokens of its sequences");
        const std::vector<int32_t> tokens(held.begin(), held.end());
        for (int64_t done = cache.lose_state(piece.sequence); done < length;) {
            const int64_t count = std::min(engine_.chunk(), length - done);
            const std::span<const int32_t> part =
                std::span(tokens).subspan(static_cast<size_t>(done), static_cast<size_t>(count));
            TRY(cache.reserve(piece.sequence, done + count));
            const StepPiece again{.sequence = piece.sequence, .tokens = part, .wanted = StepWanted::nothing};
            TRY(engine_.evaluate(batch_of({&again, 1})));
            cache.advance(piece.sequence, part);
            done += count;
        }
        return cache.reserve(piece.sequence, length + std::ssize(piece.tokens));
    }

    Batch batch_of(std::span<const size_t> chosen) const {
        std::vector<StepPiece> of_pass;
        for (const size_t piece : chosen) of_pass.push_back(pieces_[piece]);
        return batch_of(of_pass);
    }

    Batch batch_of(std::span<const StepPiece> of_pass) const {
        Batch batch;
        for (const StepPiece& piece : of_pass) {
            int64_t position = engine_.cache().length(piece.sequence);
            for (size_t i = 0; i < piece.tokens.size(); ++i) {
                const bool is_last = i + 1 == piece.tokens.size();
                if (piece.wanted == StepWanted::all_logits || (is_last && piece.wanted == StepWanted::last_logits))
                    batch.logits_rows.push_back(static_cast<int32_t>(batch.size()));
                batch.rows.push_back({.token = piece.tokens[i], .sequence = piece.sequence, .position = position++});
            }
        }
        return batch;
    }

    Result<void> run_ranked(std::span<const size_t> chosen, const Batch& batch) {
        std::vector<Preselection> requests;
        for (const size_t piece : chosen)
            if (pieces_[piece].ranked) requests.push_back(*pieces_[piece].ranked);
        TRY_ASSIGN(std::vector<RankedLogits> ranked, engine_.evaluate_ranked(batch, requests));
        size_t next = 0;
        for (const size_t piece : chosen) {
            results_[piece] = StepOutput();
            if (pieces_[piece].ranked) results_[piece]->ranked = std::move(ranked[next++]);
        }
        return {};
    }

    Result<void> run_logits(std::span<const size_t> chosen, const Batch& batch, bool last) {
        TRY_ASSIGN(std::span<const float> logits, engine_.evaluate(batch, verbs_));
        if (!last) {  // the next pass overwrites the logits
            kept_.emplace_back(logits.begin(), logits.end());
            logits = kept_.back();
        }
        const auto width = static_cast<size_t>(engine_.config().result_width());
        for (const size_t number : chosen) {
            const StepPiece& piece = pieces_[number];
            const size_t rows = piece.wanted == StepWanted::all_logits    ? piece.tokens.size()
                                : piece.wanted == StepWanted::last_logits ? 1
                                                                          : 0;
            results_[number] = StepOutput{.logits = logits.first(rows * width), .ranked = std::nullopt};
            logits = logits.subspan(rows * width);
        }
        return {};
    }

    Engine& engine_;
    Ops& verbs_;
    std::span<const StepPiece> pieces_;
    StepResults& results_;
    std::vector<std::vector<float>>& kept_;
};

}  // namespace

// Checks the tokens of a piece and reserves room for them in the cache.
Result<void> Engine::check_piece(const StepPiece& piece) {
    const int64_t end = cache_->length(piece.sequence) + std::ssize(piece.tokens);
    if (end > context()) {
        return fail("{} tokens were to be computed, but the context holds {}; start anew or raise --context", end,
                    context());
    }
    if (cache_->sees_both_ways()) {
        if (cache_->length(piece.sequence) != 0) {
            return fail(
                "{}: a text that attention sees both ways is computed as a whole, but {} tokens of it came "
                "before; give it to a new sequence in one piece",
                checkpoint_.name(), cache_->length(piece.sequence));
        }
        if (std::ssize(piece.tokens) > chunk()) {
            return fail(
                "{}: a text that attention sees both ways is computed in one pass, but {} tokens are more than "
                "the {} of --chunk; raise --chunk or give a shorter text",
                checkpoint_.name(), std::ssize(piece.tokens), chunk());
        }
    }
    for (const int32_t token : piece.tokens) TRY(check_token(token));
    return cache_->reserve(piece.sequence, end);
}

Result<StepResults> Engine::step(std::span<const StepPiece> pieces) { return step(pieces, ops()); }

Result<StepResults> Engine::step(std::span<const StepPiece> pieces, Ops& verbs) {
    StepResults results(pieces.size());
    std::vector<size_t> with_logits, with_ranks;
    int64_t rows = 0;
    const bool ranks = std::ranges::any_of(pieces, [](const StepPiece& piece) { return piece.ranked.has_value(); });
    for (size_t i = 0; i < pieces.size(); ++i) {
        const StepPiece& piece = pieces[i];
        CHECK(!piece.tokens.empty(), "a piece has at least one token");
        CHECK(!piece.ranked || (ranks_on_device() && piece.wanted == StepWanted::last_logits && &verbs == &ops()),
              "ranks are those of the last logits, and a device's");
        if (Result<void> possible = check_piece(piece); !possible) {
            // If the device was lost while a page was copied, the step fails and not this piece alone.
            if (possible.error().kind == ErrorKind::device_lost) return pass_on(std::move(possible));
            results[i] = pass_on(std::move(possible));
            continue;
        }
        rows += std::ssize(piece.tokens);
        (piece.ranked || (ranks && piece.wanted == StepWanted::nothing) ? with_ranks : with_logits).push_back(i);
    }
    CHECK(rows <= chunk(), "the pieces of a step have at most a chunk of rows");
    kept_logits_.clear();
    StepRun run(*this, verbs, pieces, results, kept_logits_);
    TRY(run.run(with_ranks, false));
    TRY(run.run(with_logits, true));
    return results;
}

}  // namespace invar
