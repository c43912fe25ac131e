#include "generate/session.h"

#include <algorithm>

namespace invar {
namespace {

Result<StepOutput> step_of_one(Session& session, std::span<const int32_t> tokens, StepWanted wanted) {
    const StepPiece piece{.sequence = session.sequence(), .tokens = tokens, .wanted = wanted};
    TRY_ASSIGN(StepResults results, session.engine().step({&piece, 1}));
    return std::move(results.front());
}

}  // namespace

int64_t Session::keep_prefix(std::span<const int32_t> tokens) {
    SequenceState& state = engine_.cache();
    const std::span<const int32_t> held = state.tokens(sequence_);
    const auto common = std::ranges::mismatch(held, tokens).in1 - held.begin();
    const int64_t most = std::max<int64_t>(0, std::ssize(tokens) - 1);
    reused_ = state.rewind(sequence_, std::min<int64_t>(common, most));
    // Other sequences may have computed the prefix that this one gave up or never had.
    if (reused_ == 0) reused_ = state.attach_prefix(sequence_, tokens.first(static_cast<size_t>(most)));
    return reused_;
}

int64_t piece_of_prompt(Engine& engine, int64_t computed, int64_t left, int64_t most) {
    if (left <= most || !engine.cache().has_recurrences()) return std::min(left, most);
    const int64_t end = (computed + most) / kPagePositions * kPagePositions;
    return end > computed ? end - computed : most;
}

Result<void> keep_state_of_prompt(Engine& engine, int32_t sequence, int64_t prompt_tokens) {
    SequenceState& state = engine.cache();
    const int64_t length = state.length(sequence);
    if (!state.has_recurrences() || length > prompt_tokens) return {};
    if (length == prompt_tokens || length % kPagePositions == 0) TRY(state.snapshot(sequence));
    return {};
}

tl::unexpected<Error> too_long(std::string_view what, size_t tokens, int64_t context, int64_t trained) {
    return fail("the {} has {} tokens, but the context holds {}; shorten it{}", what, tokens, context,
                context < trained ? " or raise --context" : ", because the model was trained for no more");
}

Result<std::span<const float>> advance_to(Session& session, std::span<const int32_t> tokens, const Progress& progress) {
    if (tokens.empty()) return fail("the prompt has no tokens; give at least one");
    Engine& engine = session.engine();
    if (std::ssize(tokens) > engine.context())
        return too_long("prompt", tokens.size(), engine.context(), engine.config().context_length);
    const std::span<const int32_t> fresh = tokens.subspan(static_cast<size_t>(session.keep_prefix(tokens)));
    const auto total = std::ssize(fresh);
    for (int64_t done = 0;;) {
        const int64_t count = piece_of_prompt(engine, std::ssize(tokens) - total + done, total - done, engine.chunk());
        const bool is_last = done + count == total;
        TRY_ASSIGN(const StepOutput output,
                   step_of_one(session, fresh.subspan(static_cast<size_t>(done), static_cast<size_t>(count)),
                               is_last ? StepWanted::last_logits : StepWanted::nothing));
        TRY(keep_state_of_prompt(engine, session.sequence(), std::ssize(tokens)));
        done += count;
        const bool go_on = !progress || progress(done, total);
        if (is_last) return output.logits;
        if (!go_on) return fail("stopped after {} of {} prompt tokens", done, total);
    }
}

Result<std::span<const float>> append(Session& session, int32_t token) {
    TRY_ASSIGN(const StepOutput output, step_of_one(session, {&token, 1}, StepWanted::last_logits));
    return output.logits;
}

Result<void> logits_of_all(Session& session, std::span<const int32_t> tokens, const LogitsSink& sink) {
    const Engine& engine = session.engine();
    if (std::ssize(tokens) > engine.context())
        return too_long("text", tokens.size(), engine.context(), engine.config().context_length);
    session.engine().cache().rewind(session.sequence(), 0);
    const auto vocabulary = static_cast<size_t>(engine.config().vocabulary);
    for (int64_t start = 0; start < std::ssize(tokens);) {
        const auto count = static_cast<size_t>(std::min(engine.chunk(), std::ssize(tokens) - start));
        TRY_ASSIGN(const StepOutput output,
                   step_of_one(session, tokens.subspan(static_cast<size_t>(start), count), StepWanted::all_logits));
        for (size_t i = 0; i < count; ++i)
            sink(start + static_cast<int64_t>(i), output.logits.subspan(i * vocabulary, vocabulary));
        start += static_cast<int64_t>(count);
    }
    return {};
}

}  // namespace invar
