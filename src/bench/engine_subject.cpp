#include "bench/engine_subject.h"

#include <algorithm>
#include <utility>

#include "bench/expert_counter.h"
#include "proof/record/hooked_ops.h"

namespace invar {
EngineSubject::EngineSubject(Engine& engine, Ops& verbs)
    : engine_(engine), verbs_(&verbs), greedy_(SamplerSettings{.temperature = 0}) {}

EngineSubject::~EngineSubject() {
    for (const Sequence& sequence : sequences_) engine_.cache().remove_sequence(sequence.slot);
}

// Different ones in a row and in neighbouring sequences: a constant token would flatter the caches and send every row
// of a mixture of experts to the same ones.
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
        sequences_.push_back({.slot = engine_.cache().add_sequence()});
    }
    for (int i = 0; i < work.sequences; ++i) {
        Sequence& sequence = sequences_[static_cast<size_t>(i)];
        if (sequence.held > work.depth) {
            engine_.cache().truncate(sequence.slot, work.depth);
            sequence.held = work.depth;
        }
        TRY(extend(sequence, work.depth));
    }
    return {};
}

Result<void> EngineSubject::extend(Sequence& sequence, int64_t to) {
    const auto number = static_cast<int32_t>(&sequence - sequences_.data());
    while (sequence.held < to) {
        const int64_t rows = std::min(engine_.chunk(), to - sequence.held);
        Batch batch;
        for (int64_t i = 0; i < rows; ++i) {
            const int64_t position = sequence.held + i;
            batch.rows.push_back(
                {.token = token_at(number, position), .sequence = sequence.slot, .position = position});
        }
        batch.logits_rows = {static_cast<int32_t>(rows - 1)};
        TRY(engine_.cache().reserve(sequence.slot, sequence.held + rows));
        TRY(evaluate(batch));
        sequence.held += rows;
    }
    return {};
}

Result<void> EngineSubject::step(int sequences) {
    Batch batch;
    for (int32_t i = 0; i < sequences; ++i) {
        Sequence& sequence = sequences_[static_cast<size_t>(i)];
        TRY(engine_.cache().reserve(sequence.slot, sequence.held + 1));
        batch.rows.push_back(
            {.token = token_at(i, sequence.held), .sequence = sequence.slot, .position = sequence.held});
        batch.logits_rows.push_back(i);
        ++sequence.held;
    }
    return evaluate(batch);
}

// As generation does: where the device ranks, a few bytes of each row come back and not the row.
Result<void> EngineSubject::evaluate(const Batch& batch) {
    const bool as_generated = verbs_ == &engine_.ops() && engine_.ranks_on_device();
    ranked_.clear();
    if (!as_generated || std::ssize(batch.logits_rows) > engine_.sequences()) {
        TRY_ASSIGN(logits_, engine_.evaluate(batch, *verbs_));
        return {};
    }
    TRY_ASSIGN(const std::optional<Preselection> request, greedy_.preselection({}, engine_.config().vocabulary));
    CHECK(request.has_value(), "the most likely token alone can be asked for");
    TRY_ASSIGN(ranked_, engine_.evaluate_ranked(batch, std::vector(batch.logits_rows.size(), *request)));
    return {};
}

Result<void> EngineSubject::run(const Work& work) {
    if (work.kind == WorkKind::prompt) return extend(sequences_.front(), work.depth + work.tokens);
    for (int64_t i = 0; i < work.tokens; ++i) TRY(step(work.sequences));
    return {};
}

int64_t EngineSubject::rows_of_first_pass(const Work& work) const {
    return work.kind == WorkKind::prompt ? std::min(work.tokens, engine_.chunk()) : work.sequences;
}

Result<void> EngineSubject::first_pass(const Work& work) {
    if (work.kind == WorkKind::prompt) return extend(sequences_.front(), work.depth + rows_of_first_pass(work));
    return step(work.sequences);
}

Result<void> EngineSubject::choose_token() {
    if (ranked_.empty()) {
        TRY(greedy_.sample(logits_, {}, 0));
    } else {
        TRY(greedy_.sample(ranked_.front(), engine_.config().vocabulary, 0));
    }
    return {};
}

Result<WorkCost> EngineSubject::cost(const Work& work) {
    const bool counted = work.kind != WorkKind::prompt && work.sequences > 1 && engine_.config().most_experts() > 0;
    if (!counted) return cost_of(work, engine_.plan(), engine_.config(), {});
    // Which experts are read is decided by the router. The same tokens take the same way every time, so what one run
    // reads, every run does.
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
