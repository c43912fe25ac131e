#include "generate/engine.h"

#include <algorithm>
#include <cmath>

namespace invar {
Result<std::unique_ptr<Engine>> Engine::open(const EngineSettings& settings, const LoadProgress& progress) {
    TRY_ASSIGN(GgufFile file, GgufFile::open(settings.model));
    TRY_ASSIGN(PlannedModel planned, plan_model(file, settings));
    std::unique_ptr<Engine> engine(new Engine(std::move(file), std::move(planned)));
    const std::vector<NumaNode> nodes = system_numa_nodes();
    TRY_ASSIGN(engine->threads_,
               ThreadPool::create({.threads = engine->machine().threads, .pin = settings.pin, .nodes = nodes}));
    const HomedWork homed{.homes = engine->threads_->row_homes(),
                          .run = [&](int64_t count, const auto& home_of, const auto& work) {
                              engine->threads_->parallel_items(count, home_of, [&](int64_t item, int) { work(item); });
                          }};
    if (engine->planned_.uses_device()) engine->device_ = settings.device;
    TRY_ASSIGN(CachedWeights loaded, load_with_cache(engine->planned_.plan, engine->file_, settings.weight_cache, homed,
                                                     progress, engine->device_.get()));
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
    AcceleratorOpsSettings of_device = device_ops_settings(planned_, settings);
    of_device.scratch_bytes = plan().device_scratch;
    TRY_ASSIGN(device_ops_, device_->make_ops(of_device));
    source_.emplace(plan(), file_);
    split_ops_.emplace(SplitOpsSettings{
        .host = *cpu_ops_, .device = *device_ops_, .accelerator = *device_, .source = *source_, .measuring = false});
    return {};
}

Result<void> Engine::make_cache(CacheType type) {
    KvCache::DevicePart part{.places = plan().layer_places, .memory = nullptr};
    if (const PlanReserve* reserve = plan().reserve("kv_cache", Place::device)) {
        TRY_ASSIGN(part.memory, device_->allocate(reserve->bytes, "the KV cache"));
    }
    TRY_ASSIGN(cache_, KvCache::create(config().kv_geometry(), type, plan().cache_pages, std::move(part)));
    return {};
}

Result<std::span<const float>> Engine::evaluate(const Batch& batch, Ops& verbs) {
    CHECK(batch.size() > 0 && batch.size() <= chunk(), "a batch has between one row and a chunk of them");
    for (const BatchRow& row : batch.rows) {
        if (row.token < 0 || row.token >= config().vocabulary) {
            return fail(
                "token {} is outside the model's vocabulary of {}; was the prompt made by another model's tokenizer?",
                row.token, config().vocabulary);
        }
    }
    verbs.begin_pass();
    const Tensor logits = model_->forward(verbs, batch, *cache_);
    verbs.to_host(logits);
    TRY(verbs.finish());
    if (const std::optional<NonFinite> failure = verbs.failure()) {
        const std::string where = failure->stage.layer < 0 ? std::string("outside the layers")
                                                           : fmt::format("in layer {}", failure->stage.layer);
        return fail(
            "{}: the result of {} ({}) {} is {} at row {}, element {}; the weights are damaged or the numbers "
            "overflow, run invar inspect",
            file_.name(), failure->stage.name, failure->verb, where,
            std::isnan(failure->value) ? std::string("nan")
                                       : fmt::format("{}", failure->value),  // its sign is no bit of the law
            failure->row, failure->element);
    }
    const auto count = static_cast<size_t>(logits.rows() * config().vocabulary);
    if (count == 0) return std::span<const float>();
    CHECK(logits.stride() == config().vocabulary, "logits rows are contiguous");
    return std::span<const float>(logits.host(), count);
}

}  // namespace invar
