#include "generate/engine.h"

#include <algorithm>

namespace invar {
namespace {

// A pass without arithmetic over the largest batches there will be: what scratch memory they take.
Result<int64_t> measure_scratch(const PlannedModel& planned, const EngineSettings& settings,
                                const ResolvedMachine& machine) {
    TRY_ASSIGN(auto pool, ThreadPool::create({.threads = machine.threads}));
    TRY_ASSIGN(auto ops, CpuOps::create({.pool = *pool,
                                         .highest = machine.isa,
                                         .forced_linear = settings.kernel,
                                         .scratch_bytes = 0,
                                         .measuring = true}));
    const WeightRegistry shapes = WeightRegistry::without_memory(planned.plan);
    TRY_ASSIGN(const std::unique_ptr<Model> model, planned.architecture->build(planned.config, shapes));
    const std::unique_ptr<KvCache> cache = KvCache::without_memory(planned.config.kv_geometry(), settings.cache_type);
    const int32_t sequence = cache->add_sequence();
    int64_t peak = 0;
    for (const int64_t rows : {planned.plan.chunk, int64_t{1}}) {
        Batch batch;
        for (int64_t i = 0; i < rows; ++i) {
            batch.rows.push_back({.token = 0, .sequence = sequence, .position = planned.plan.context - rows + i});
        }
        const int64_t wanted = std::min<int64_t>(rows, std::max<int64_t>(settings.logits_rows, settings.sequences));
        for (int64_t i = rows - wanted; i < rows; ++i) batch.logits_rows.push_back(static_cast<int32_t>(i));
        ops->begin_pass();
        model->forward(*ops, batch, *cache);
        peak = std::max(peak, ops->scratch_peak());
    }
    return peak;
}

}  // namespace

Result<ResolvedMachine> resolve_machine(const EngineSettings& settings) {
    const IsaSupport support = detect_isa();
    ResolvedMachine machine{.isa = support.highest(),
                            .threads = settings.threads > 0 ? settings.threads : available_cpus()};
    if (settings.isa) {
        if (!support.has(*settings.isa)) {
            return fail("--isa {} cannot run here: {}; use --isa {} or leave it out", isa_name(*settings.isa),
                        support.missing[static_cast<size_t>(*settings.isa)], isa_name(support.highest()));
        }
        machine.isa = *settings.isa;
    }
    return machine;
}

Result<PlannedModel> plan_model(const GgufFile& file, const EngineSettings& settings) {
    PlannedModel planned;
    TRY_ASSIGN(planned.machine, resolve_machine(settings));
    const ResolvedMachine& machine = planned.machine;
    TRY_ASSIGN(planned.architecture, find_architecture(file));
    TRY_ASSIGN(planned.config, planned.architecture->read_config(file));
    const std::vector<WantedWeight> wanted = planned.architecture->declare(planned.config, file);
    const PlanRequest request{.vector_kernels = machine.isa != Isa::scalar,
                              .form = settings.form,
                              .cache_type = settings.cache_type,
                              .context = settings.context,
                              .chunk = settings.chunk,
                              .sequences = settings.sequences,
                              .memory_bytes = settings.memory_bytes,
                              .memory_source = settings.memory_source};
    TRY_ASSIGN(planned.plan, make_weight_plan(planned.config, wanted, file, request));
    TRY_ASSIGN(const int64_t scratch, measure_scratch(planned, settings, machine));
    TRY(finish_plan(planned.plan, request, scratch));
    return planned;
}

Result<std::unique_ptr<Engine>> Engine::open(const EngineSettings& settings, const LoadProgress& progress) {
    TRY_ASSIGN(GgufFile file, GgufFile::open(settings.model));
    TRY_ASSIGN(PlannedModel planned, plan_model(file, settings));
    std::unique_ptr<Engine> engine(new Engine(std::move(file), std::move(planned)));
    const ResolvedMachine& machine = engine->machine();
    const std::vector<NumaNode> nodes = system_numa_nodes();
    TRY_ASSIGN(engine->threads_, ThreadPool::create({.threads = machine.threads, .pin = settings.pin, .nodes = nodes}));
    const HomedWork homed{.homes = engine->threads_->row_homes(),
                          .run = [&](int64_t count, const auto& home_of, const auto& work) {
                              engine->threads_->parallel_items(count, home_of, [&](int64_t item, int) { work(item); });
                          }};
    const WeightPlan& plan = engine->plan();
    TRY_ASSIGN(engine->weights_, load_weights(plan, engine->file_, homed, progress));
    int64_t scratch_bytes = 0;
    for (const PlanReserve& reserve : plan.reserves) {
        if (reserve.name == "scratch") scratch_bytes = reserve.bytes;
    }
    TRY_ASSIGN(engine->ops_, CpuOps::create({.pool = *engine->threads_,
                                             .highest = machine.isa,
                                             .forced_linear = settings.kernel,
                                             .scratch_bytes = scratch_bytes,
                                             .measuring = false}));
    TRY_ASSIGN(engine->cache_, KvCache::create(engine->config().kv_geometry(), settings.cache_type, plan.cache_pages));
    interleave_memory(engine->cache_->memory(), nodes);
    interleave_memory(engine->ops_->scratch_memory(), nodes);
    TRY_ASSIGN(engine->model_, engine->planned_.architecture->build(engine->config(), engine->weights_));
    return engine;
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
    if (const std::optional<NonFinite> failure = verbs.failure()) {
        const std::string where = failure->stage.layer < 0 ? std::string("outside the layers")
                                                           : fmt::format("in layer {}", failure->stage.layer);
        return fail(
            "{}: the result of {} ({}) {} is {} at row {}, element {}; the weights are damaged or the numbers "
            "overflow, run invar inspect",
            file_.name(), failure->stage.name, failure->verb, where, failure->value, failure->row, failure->element);
    }
    const auto count = static_cast<size_t>(logits.rows() * config().vocabulary);
    if (count == 0) return std::span<const float>();
    CHECK(logits.stride() == config().vocabulary, "logits rows are contiguous");
    return std::span<const float>(logits.host(), count);
}

}  // namespace invar
