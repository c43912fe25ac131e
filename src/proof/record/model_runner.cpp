#include "proof/record/model_runner.h"

#include <algorithm>

namespace invar {

std::string EngineRunner::name() const {
    const ResolvedMachine& machine = engine_.machine();
    const std::string& device = engine_.plan().device;
    return fmt::format("engine {}, {} thread{}{}", isa_name(machine.isa), machine.threads,
                       machine.threads == 1 ? "" : "s", device.empty() ? "" : fmt::format(", cuda ({})", device));
}

Result<std::span<const float>> EngineRunner::evaluate(const Batch& batch, std::span<VerbHook* const> hooks) {
    if (hooks.empty()) return engine_.evaluate(batch);
    HookedOps hooked(engine_.ops(), {hooks.begin(), hooks.end()});
    return engine_.evaluate(batch, hooked);
}

std::string_view EngineRunner::kernel_of(const VerbCall& call) const {
    if (engine_.split_ops() != nullptr && engine_.split_ops()->last_place() == Place::device) return "cuda";
    const std::string_view format = call.matrix != nullptr       ? call.matrix->format->name
                                    : call.stack != nullptr      ? call.stack->first.format->name
                                    : call.cache_read != nullptr ? cache_type_name(call.cache_read->type())
                                                                 : std::string_view();
    const ShapeClass shape = shape_class(call.pass->size());
    const KernelUse* best = nullptr;
    for (const KernelUse& use : engine_.cpu_ops().kernels_used()) {
        if (use.verb != verb_name(call.verb) || use.format != format) continue;
        if (best == nullptr || use.shape == shape) best = &use;
    }
    return best == nullptr ? std::string_view() : best->kernel;
}

Result<void> reserve_rows(SequenceState& cache, const Batch& batch) {
    for (size_t i = 0; i < batch.rows.size(); ++i) {
        const BatchRow& row = batch.rows[i];
        const bool last = i + 1 == batch.rows.size() || batch.rows[i + 1].sequence != row.sequence;
        if (last) TRY(cache.reserve(row.sequence, row.position + 1));
    }
    return {};
}

void advance_rows(SequenceState& cache, const Batch& batch) {
    for (const BatchRow& row : batch.rows) cache.advance(row.sequence, 1);
}

Result<void> feed(ModelRunner& runner, const FeedRequest& request, std::span<VerbHook* const> hooks,
                  const LogitsOfBatch& sink) {
    const auto total = static_cast<int64_t>(request.tokens.size());
    const bool both_ways = runner.cache().sees_both_ways();
    if (both_ways && (request.start > 0 || total > runner.chunk())) {
        return fail(
            "{}: attention sees both ways, so all tokens of a text are one pass of at most {}, but {} were to "
            "follow {}",
            runner.config().name, runner.chunk(), total, request.start);
    }
    for (int64_t done = 0; done < total;) {
        const int64_t count = both_ways ? total : std::min({request.chunk, runner.chunk(), total - done});
        Batch batch;
        for (int64_t i = done; i < done + count; ++i) {
            batch.rows.push_back({.token = request.tokens[static_cast<size_t>(i)],
                                  .sequence = request.sequence,
                                  .position = request.start + i});
            if (request.all_logits || i == total - 1) batch.logits_rows.push_back(static_cast<int32_t>(i - done));
        }
        TRY(reserve_rows(runner.cache(), batch));
        TRY_ASSIGN(const std::span<const float> logits, runner.evaluate(batch, hooks));
        advance_rows(runner.cache(), batch);
        if (sink) sink(batch, logits);
        done += count;
    }
    return {};
}

}  // namespace invar
