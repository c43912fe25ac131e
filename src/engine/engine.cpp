#include "engine/engine.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "arithmetic/version.h"

#include "engine/engine_settings.h"
#include "models/long_rope.h"
#include "ops/visible_rows.h"

namespace invar {
Result<std::unique_ptr<Engine>> Engine::open(const EngineSettings& settings, const LoadProgress& progress) {
    TRY_ASSIGN(Checkpoint checkpoint, Checkpoint::open(settings.model));
    TRY_ASSIGN(PlannedModel planned, plan_model(checkpoint, settings));
    std::unique_ptr<Engine> engine(new Engine(std::move(checkpoint), std::move(planned)));
    engine->sequences_ = settings.sequences;
    const std::vector<NumaNode> nodes = system_numa_nodes();
    TRY_ASSIGN(engine->threads_,
               ThreadPool::create({.threads = engine->machine().threads, .pin = settings.pin, .nodes = nodes}));
    if (engine->planned_.uses_device()) engine->device_ = settings.device;
    TRY_ASSIGN(CachedWeights loaded, load_with_cache(engine->planned_.plan, engine->checkpoint_, settings.weight_cache,
                                                     *engine->threads_, progress, engine->device_.get()));
    engine->weight_cache_ = std::move(loaded.cache);
    engine->weights_ = std::move(loaded.weights);
    TRY(engine->make_ops(settings));
    TRY(engine->make_cache(settings.cache_type));
    interleave_memory(engine->cache_->memory(), nodes);
    interleave_memory(engine->cpu_ops_->scratch_memory(), nodes);
    TRY_ASSIGN(engine->model_, engine->planned_.architecture->build(engine->config(), engine->weights_));
    return engine;
}

Result<void> Engine::make_ops(const EngineSettings& settings) {
    TRY_ASSIGN(cpu_ops_, CpuOps::create({.pool = *threads_,
                                         .highest = machine().isa,
                                         .forced_linear = settings.kernel,
                                         .scratch_bytes = plan().reserve("scratch", Place::host)->bytes,
                                         .measuring = false}));
    if (device_ == nullptr) return {};
    TRY_ASSIGN(AcceleratorOpsSettings of_device, device_ops_settings(planned_, settings));
    of_device.scratch_bytes = plan().device_scratch;
    TRY_ASSIGN(device_ops_, device_->make_ops(of_device));
    source_.emplace(plan());
    split_ops_.emplace(SplitOpsSettings{
        .host = *cpu_ops_, .device = *device_ops_, .accelerator = *device_, .source = *source_, .measuring = false});
    if (settings.passes == Passes::recorded && planned_.wholly_on_device())
        recorded_ = device_ops_->make_recorded_passes();
    return {};
}

std::optional<RecordedPasses::Counts> Engine::recorded_passes() const {
    if (recorded_ == nullptr) return std::nullopt;
    return recorded_->counts();
}

Result<void> Engine::make_cache(CacheType type) {
    SequenceState::Settings settings{.geometry = config().state_geometry(type, plan().layer_places),
                                     .units = plan().cache_units,
                                     .sequences = std::numeric_limits<int32_t>::max(),
                                     .digest = fmt::format("{}, arithmetic {}, {}{}", config().name, kArithmeticVersion,
                                                           cache_type_name(type), chosen_rope(config()))};
    if (const int64_t bytes = plan().cache_bytes(Place::device); bytes > 0) {
        settings.sequences = sequences_;  // a device has page tables for so many
        DevicePart& part = settings.device;
        TRY_ASSIGN(part.memory, device_->allocate(bytes, "the KV cache"));
        part.upload = [device = device_.get()](std::byte* to, const void* from, int64_t count) {
            return device->upload(to, from, count);
        };
        part.download = [device = device_.get()](void* to, const std::byte* from, int64_t count) {
            return device->download(to, from, count);
        };
    }
    TRY_ASSIGN(cache_, SequenceState::create(std::move(settings)));
    return {};
}

// A recorded pass holds kernel launches only and nothing that the host does. So a pass runs verb by verb if the CPU
// computes a part of it or if observers read its results.
Result<Tensor> Engine::run_pass(const Batch& batch, Ops& verbs) {
    if (recorded_ != nullptr && &verbs == &ops()) {
        TRY_ASSIGN(const Tensor made, recorded_->run(model_.get(), batch, *cache_,
                                                     [&] { return model_->forward(*device_ops_, batch, *cache_); }));
        return split_ops_->adopt_pass(made);
    }
    verbs.begin_pass();
    return model_->forward(verbs, batch, *cache_);
}

Result<void> Engine::check_batch(const Batch& batch) const {
    CHECK(batch.size() > 0 && batch.size() <= chunk(), "a batch has between one row and a chunk of them");
    CHECK(!cache_->sees_both_ways() || has_whole_sequences(batch), "a pass that sees both ways has whole texts");
    for (const BatchRow& row : batch.rows) TRY(check_token(row.token));
    return {};
}

Result<void> Engine::check_token(int32_t token) const {
    if (token >= 0 && token < config().vocabulary) return {};
    return fail("token {} is outside the model's vocabulary of {}; was the prompt made by another model's tokenizer?",
                token, config().vocabulary);
}

Result<void> Engine::check_finite(const Ops& verbs) const {
    const std::optional<NonFinite> failure = verbs.failure();
    if (!failure) return {};
    const std::string where =
        failure->stage.layer < 0 ? std::string("outside the layers") : fmt::format("in layer {}", failure->stage.layer);
    return fail(ErrorKind::numeric,
                "{}: the result of {} ({}) {} is {} at row {}, element {}; the weights are damaged or the numbers "
                "overflow, run invar audit on the model",
                checkpoint_.name(), failure->stage.name, failure->verb, where,
                std::isnan(failure->value) ? std::string("nan")
                                           : fmt::format("{}", failure->value),  // a NaN's sign is not defined
                failure->row, failure->element);
}

Result<std::vector<RankedLogits>> Engine::evaluate_ranked(const Batch& batch, std::span<const Preselection> requests) {
    CHECK(ranks_on_device() && requests.size() == batch.logits_rows.size() && std::ssize(requests) <= sequences_,
          "ranks are asked of a device, one request a row, one row a sequence");
    TRY(check_batch(batch));
    // Everything the device needs is sent before the pass, so that it can rank the logits without waiting for the host.
    TRY(split_ops_->ask(requests));
    TRY_ASSIGN(const Tensor logits, run_pass(batch, *split_ops_));
    TRY_ASSIGN(std::vector<RankedLogits> ranked, split_ops_->preselect(logits));
    TRY(split_ops_->finish());
    TRY(check_finite(*split_ops_));
    return ranked;
}

Result<std::span<const float>> Engine::evaluate(const Batch& batch, Ops& verbs) {
    TRY(check_batch(batch));
    TRY_ASSIGN(const Tensor logits, run_pass(batch, verbs));
    return take_logits(logits, verbs);
}

Result<std::span<const float>> Engine::evaluate_plain(const Batch& batch) {
    TRY(check_batch(batch));
    ops().begin_pass();
    return take_logits(model_->forward(ops(), batch, *cache_), ops());
}

Result<std::span<const float>> Engine::take_logits(Tensor logits, Ops& verbs) const {
    verbs.to_host(logits);
    TRY(verbs.finish());
    TRY(check_finite(verbs));
    const auto count = static_cast<size_t>(logits.rows() * config().result_width());
    if (count == 0) return std::span<const float>();
    CHECK(logits.stride() == config().result_width(), "logits rows are contiguous");
    return std::span<const float>(logits.host(), count);
}

}  // namespace invar
