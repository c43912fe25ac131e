#include "generate/generation.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace invar {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

Request::Limits limits_of(const Engine& engine) {
    return {.context = engine.context(), .vocabulary = engine.config().vocabulary, .ranks = engine.ranks_on_device()};
}

}  // namespace

Result<Generation> generate(Session& session, const Tokenizer& tokenizer, std::span<const int32_t> prompt,
                            const GenerationSettings& settings, const TextSink& sink, const Progress& progress) {
    Engine& engine = session.engine();
    if (std::ssize(prompt) > engine.context())
        return too_long("prompt", prompt.size(), engine.context(), engine.config().context_length);
    TRY_ASSIGN(Request request, Request::create(tokenizer, prompt, settings, limits_of(engine)));
    Generation result;
    result.prompt_tokens = std::ssize(prompt);
    const auto deliver = [&] {
        for (const TextPiece& piece : request.take_pieces()) {
            result.text += piece.text;
            if (sink && !sink(piece.text, piece.mark)) return request.cancel();
        }
    };
    auto start = Clock::now();
    int64_t computed = session.keep_prefix(prompt);
    result.reused_tokens = computed;
    const int64_t fresh = std::ssize(prompt) - computed;
    while (!request.finished()) {
        const int64_t left = std::ssize(request.tokens()) - computed;
        TRY_ASSIGN(const StepPiece piece, request.next_piece(session.sequence(), computed,
                                                             piece_of_prompt(engine, computed, left, engine.chunk())));
        TRY_ASSIGN(StepResults results, engine.step({&piece, 1}));
        TRY_ASSIGN(const StepOutput output, std::move(results.front()));
        computed += std::ssize(piece.tokens);
        TRY(keep_state_of_prompt(engine, session.sequence(), std::ssize(prompt)));
        const bool in_prompt = computed <= std::ssize(prompt);
        const int64_t done = computed - result.reused_tokens;
        if (in_prompt && progress && !progress(done, fresh) && done < fresh)
            return fail("stopped after {} of {} prompt tokens", done, fresh);
        if (piece.wanted == StepWanted::nothing) continue;
        if (in_prompt) {
            result.prompt_seconds = seconds_since(start);
            start = Clock::now();
        }
        TRY(request.take(output));
        deliver();
    }
    deliver();
    result.tokens.assign(request.sampled().begin(), request.sampled().end());
    result.reason = *request.finished();
    result.generation_seconds = seconds_since(start);
    return result;
}

Result<void> generate_together(Engine& engine, std::span<RequestOnSequence> requests) {
    while (true) {
        std::vector<StepPiece> pieces;
        std::vector<RequestOnSequence*> of_piece;
        int64_t rows = engine.chunk();
        for (const bool prompts : {false, true}) {
            for (RequestOnSequence& one : requests) {
                if (one.request->finished() || !one.failed) continue;
                const int64_t computed = engine.cache().length(one.sequence);
                const bool is_prompt = computed + 1 < std::ssize(one.request->tokens());
                if (is_prompt != prompts || rows == 0) continue;
                const int64_t left = std::ssize(one.request->tokens()) - computed;
                TRY_ASSIGN(StepPiece piece, one.request->next_piece(one.sequence, computed,
                                                                    piece_of_prompt(engine, computed, left, rows)));
                rows -= std::ssize(piece.tokens);
                pieces.push_back(std::move(piece));
                of_piece.push_back(&one);
            }
        }
        if (pieces.empty()) return {};
        TRY_ASSIGN(StepResults results, engine.step(pieces));
        for (size_t i = 0; i < pieces.size(); ++i) {
            if (!results[i]) {
                of_piece[i]->failed = pass_on(std::move(results[i]));
                continue;
            }
            RequestOnSequence& one = *of_piece[i];
            TRY(keep_state_of_prompt(engine, one.sequence, one.request->prompt_tokens()));
            if (pieces[i].wanted != StepWanted::nothing) {
                one.failed = one.request->take(*results[i]);
            }
        }
    }
}

}  // namespace invar
