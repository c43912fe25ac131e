#include "bench/engine_subject.h"

#include <algorithm>
#include <utility>

#include "bench/expert_counter.h"
#include "proof/record/hooked_ops.h"

namespace invar {
EngineSubject::EngineSubject(Engine& engine, Ops& verbs)
    : engine_(engine), verbs_(&verbs), greedy_(SamplerSettings{.temperature = 0}) {}

EngineSubject::~EngineSubject() {
    for (const int32_t sequence : sequences_) engine_.cache().remove_sequence(sequence);
}

// Tokens differ along a row and between sequences. A constant token would flatter the caches and send every row of a
// mixture of experts to the same experts.
int32_t EngineSubject::token_at(int32_t sequence, int64_t position) const {
    uint64_t state = 0x9E3779B97F4A7C15u * static_cast<uint64_t>(position + 1) + static_cast<uint64_t>(sequence);
    state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9u;
    state = (state ^ state >> 27) * 0x94D049BB133111EBu;
    return static_cast<int32_t>((state ^ state >> 31) % static_cast<uint64_t>(engine_.config().vocabulary));
}

Result<void> EngineSubject::prepare(const Work& work) {
    if (work.depth + work.tokens > engine_.context()) {
        return fail("{} needs a context of {} positions, but the model was opened with {}; raise --context",
                    describe(work), work.depth + work.tokens, engine_.context());
    }
    if (work.sequences > engine_.chunk()) {
        return fail("{} are more than the {} rows of a pass; raise --chunk", describe(work), engine_.chunk());
    }
    while (sequences_.size() < static_cast<size_t>(work.sequences)) {
        sequences_.push_back(engine_.cache().add_sequence());
    }
    for (int i = 0; i < work.sequences; ++i) {
        engine_.cache().rewind(sequences_[static_cast<size_t>(i)], work.depth);
        TRY(extend(i, work.depth));
        TRY(engine_.cache().snapshot(sequences_[static_cast<size_t>(i)]));  // the next run starts here again
    }
    return {};
}

std::vector<int32_t> EngineSubject::next_tokens(int32_t number, int64_t count) const {
    const int64_t held = engine_.cache().length(sequences_[static_cast<size_t>(number)]);
    std::vector<int32_t> tokens;
    for (int64_t i = 0; i < count; ++i) tokens.push_back(token_at(number, held + i));
    return tokens;
}

Result<void> EngineSubject::extend(int32_t number, int64_t to) {
    const int32_t sequence = sequences_[static_cast<size_t>(number)];
    while (engine_.cache().length(sequence) < to) {
        const int64_t rows = std::min(engine_.chunk(), to - engine_.cache().length(sequence));
        const std::vector<int32_t> tokens = next_tokens(number, rows);
        StepPiece piece{.sequence = sequence, .tokens = tokens};
        TRY(evaluate({&piece, 1}));
    }
    return {};
}

Result<void> EngineSubject::step(int sequences) {
    std::vector<std::vector<int32_t>> tokens;
    std::vector<StepPiece> pieces;
    for (int32_t i = 0; i < sequences; ++i) {
        tokens.push_back(next_tokens(i, 1));
        pieces.push_back({.sequence = sequences_[static_cast<size_t>(i)], .tokens = tokens.back()});
    }
    return evaluate(pieces);
}

// As in generation: if the device ranks, a few bytes of each row are copied back instead of the whole row.
Result<void> EngineSubject::evaluate(std::span<StepPiece> pieces) {
    const bool as_generated = verbs_ == &engine_.ops() && engine_.ranks_on_device();
    if (as_generated && std::ssize(pieces) <= engine_.sequences()) {
        TRY_ASSIGN(const std::optional<Preselection> request, greedy_.preselection({}, engine_.config().vocabulary));
        CHECK(request.has_value(), "the most likely token alone can be asked for");
        for (StepPiece& piece : pieces) piece.ranked = request;
    }
    TRY_ASSIGN(StepResults results, engine_.step(pieces, *verbs_));
    for (Result<StepOutput>& result : results)
        if (!result) return pass_on(std::move(result));
    first_ = std::move(*results.front());
    return {};
}

Result<void> EngineSubject::run(const Work& work) {
    if (work.kind == WorkKind::prompt) return extend(0, work.depth + work.tokens);
    for (int64_t i = 0; i < work.tokens; ++i) TRY(step(work.sequences));
    return {};
}

int64_t EngineSubject::rows_of_first_pass(const Work& work) const {
    return work.kind == WorkKind::prompt ? std::min(work.tokens, engine_.chunk()) : work.sequences;
}

Result<void> EngineSubject::first_pass(const Work& work) {
    if (work.kind == WorkKind::prompt) return extend(0, work.depth + rows_of_first_pass(work));
    return step(work.sequences);
}

Result<void> EngineSubject::choose_token() {
    if (first_.ranked) {
        TRY(greedy_.sample(*first_.ranked, engine_.config().vocabulary, 0));
    } else {
        TRY(greedy_.sample(first_.logits, {}, 0));
    }
    return {};
}

Result<WorkCost> EngineSubject::cost(const Work& work) {
    const bool counted = work.kind != WorkKind::prompt && work.sequences > 1 && engine_.config().most_experts() > 0;
    if (!counted) return cost_of(work, engine_.plan(), engine_.config(), {});
    // The router decides which experts are read. The same tokens always take the same experts, so one run counts for
    // all.
    ExpertCounter counter(engine_.config().layers.size());
    HookedOps observed(*verbs_, {&counter});
    TRY(prepare(work));
    Ops* const verbs = std::exchange(verbs_, &observed);
    Result<void> ran = run(work);
    verbs_ = verbs;
    TRY(std::move(ran));
    return cost_of(work, engine_.plan(), engine_.config(), counter.read());
}

}  // namespace invar
