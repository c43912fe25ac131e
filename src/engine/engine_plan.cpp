// Plans a model before it is loaded: the machine, the split between CPU and device, and the scratch memory, which is
// measured by a pass without arithmetic. The weight plan itself is made in checkpoint/weight_plan.h.
#include <algorithm>

#include "engine/engine.h"
#include "engine/engine_settings.h"
#include "engine/pass_survey.h"
#include "engine/split_ops.h"
#include "models/long_rope.h"

namespace invar {
namespace {

// The most memory that attention over chunks of keys can use: (m, l, o) for every query of a batch and every chunk. It
// is capped at 64 MiB, because a batch that would need more has enough blocks without splitting its keys.
Result<int64_t> chunk_result_bytes(const PlannedModel& planned) {
    TRY_ASSIGN(const PassSurvey survey, PassSurvey::of(planned.config, planned.plan, batch_of(0, 1, 1)));
    int64_t of_query = 0;
    for (const VerbCall& call : survey.calls()) {
        if (!call.attention) continue;
        const int64_t value_width = call.out.width() / call.attention->heads;
        of_query = std::max<int64_t>(of_query, int64_t{call.attention->heads} * (value_width + 2) * 4);
    }
    const int64_t chunks = pages_for(planned.plan.context);
    return std::min(int64_t{64} << 20, planned.plan.chunk * chunks * of_query);
}

Result<void> check_heads(const std::string& model, const KvGeometry& layer, const AcceleratorLimits& limits) {
    const int64_t most_key = layer.values_in_keys ? limits.latent_key_width : limits.head_width;
    const int64_t most_value = layer.values_in_keys ? limits.latent_value_width : limits.head_width;
    if (layer.key_width <= most_key && layer.value_width <= most_value) return {};
    const bool key = layer.key_width > most_key;
    return fail(ErrorKind::unsupported,
                "{} has heads of {} elements, but the device computes at most {}; use --device cpu", model,
                key ? layer.key_width : layer.value_width, key ? most_key : most_value);
}

// Refuses, before anything is computed, a model that the device's kernels cannot index.
Result<void> check_device_limits(const PlannedModel& planned, const AcceleratorLimits& limits) {
    const std::string& name = planned.config.name;
    const int64_t chunk = planned.plan.chunk;
    TRY_ASSIGN(const PassSurvey survey, PassSurvey::of(planned.config, planned.plan, batch_of(0, chunk, 1)));
    for (const VerbCall& call : survey.calls()) {
        if (call.out.rows() > limits.rows) {
            return fail("a pass of {} tokens has {} rows, but the device computes at most {}; use a smaller --chunk",
                        chunk, call.out.rows(), limits.rows);
        }
        if (call.route && call.x.width() > limits.experts) {
            return fail(ErrorKind::unsupported,
                        "{} has {} experts, but the device chooses among at most {}; use --device cpu", name,
                        call.x.width(), limits.experts);
        }
        if (call.attention && call.cache_read->place(call.cache_layer) == Place::device)
            TRY(check_heads(name, call.cache_read->layers()[static_cast<size_t>(call.cache_layer)], limits));
        const WeightMatrix* weights = call.weights();
        if (weights != nullptr && weights->place() == Place::device && weights->rows > limits.row_elements) {
            return fail(ErrorKind::unsupported, "{} has {} rows, but the device computes at most {}; use --device cpu",
                        to_string(weights->id), weights->rows, limits.row_elements);
        }
    }
    return {};
}

Result<std::unique_ptr<AcceleratorOps>> make_measuring_ops(const PlannedModel& planned,
                                                           const EngineSettings& settings) {
    TRY_ASSIGN(AcceleratorOpsSettings of_device, device_ops_settings(planned, settings));
    of_device.measuring = true;
    return settings.device->make_ops(of_device);
}

// Runs a pass without arithmetic over the largest possible batches and gives the scratch memory it takes.
Result<ScratchBytes> measure_scratch(const PlannedModel& planned, const EngineSettings& settings) {
    TRY_ASSIGN(auto pool, ThreadPool::create({.threads = planned.machine.threads}));
    TRY_ASSIGN(auto host, CpuOps::create({.pool = *pool,
                                          .highest = planned.machine.isa,
                                          .forced_linear = settings.kernel,
                                          .scratch_bytes = 0,
                                          .measuring = true}));
    std::unique_ptr<AcceleratorOps> device;
    SourceWeights source(planned.plan);
    std::optional<SplitOps> split;
    if (planned.uses_device()) {
        TRY(check_device_limits(planned, settings.device->limits()));
        TRY_ASSIGN(device, make_measuring_ops(planned, settings));
        split.emplace(SplitOpsSettings{
            .host = *host, .device = *device, .accelerator = *settings.device, .source = source, .measuring = true});
    }
    Ops& ops = split ? static_cast<Ops&>(*split) : *host;
    const WeightRegistry shapes = WeightRegistry::without_memory(planned.plan);
    TRY_ASSIGN(const std::unique_ptr<Model> model, planned.architecture->build(planned.config, shapes));
    const std::unique_ptr<SequenceState> cache =
        SequenceState::without_memory(planned.config.state_geometry(settings.cache_type, planned.plan.layer_places));
    const int32_t sequence = cache->add_sequence();
    for (const int64_t rows : {planned.plan.chunk, int64_t{1}}) {
        Batch batch;
        for (int64_t i = 0; i < rows; ++i) {
            batch.rows.push_back({.token = 0, .sequence = sequence, .position = planned.plan.context - rows + i});
        }
        int64_t wanted = std::min<int64_t>(rows, std::max<int64_t>(settings.logits_rows, settings.sequences));
        if (cache->sees_both_ways()) wanted = rows;  // the hidden states of all rows
        for (int64_t i = rows - wanted; i < rows; ++i) batch.logits_rows.push_back(static_cast<int32_t>(i));
        ops.begin_pass();
        const Tensor logits = model->forward(ops, batch, *cache);
        ops.to_host(logits);
        if (const Result<void> computable = ops.finish(); !computable)
            return fail(computable.error().kind, "{}: {}", planned.config.name, computable.error().message);
        if (planned.logits_on_device()) {
            // The device ranks one row per sequence at a time, in scratch memory behind that of the pass.
            const int64_t ranked = std::min<int64_t>(wanted, settings.sequences);
            const Preselection most{.edits = {}, .count = kMostPreselected};
            TRY(split->ask(std::vector<Preselection>(static_cast<size_t>(ranked), most)));
            TRY(split->preselect(logits.row_range(0, ranked)));
        }
    }
    ScratchBytes scratch{.host = host->scratch_peak()};
    if (device != nullptr) {
        scratch.device_tensors = device->scratch_peak();
        scratch.device = device->memory_bytes(scratch.device_tensors);
    }
    return scratch;
}

Result<DeviceRequest> device_request(const EngineSettings& settings, const ModelConfig& config) {
    TRY_ASSIGN(AcceleratorFacts facts, settings.device->facts());
    // The device's kernels are loaded already, but the plan counts them in a line of its own, so the budget includes
    // them.
    const int64_t free = facts.free_bytes + facts.overhead_bytes;
    return DeviceRequest{
        .accelerator = *settings.device,
        .facts = std::move(facts),
        .layers = std::min(settings.gpu_layers.value_or(most_device_layers(config)), most_device_layers(config)),
        .experts_on_host = settings.experts == ExpertPlace::host,
        .memory_bytes = settings.device_memory_bytes.value_or(free),
        .memory_source = settings.device_memory_bytes ? "--gpu-memory" : "free there"};
}

struct Planning {
    PlannedModel& planned;
    const std::vector<WantedWeight>& wanted;
    const Checkpoint& checkpoint;
    const EngineSettings& settings;
    PlanRequest& request;
};

// Puts as many layers on the device as fit. Scratch is measured twice: for a pass that is wholly on the device, and for
// one with every layer but not the output there. No other split takes more.
Result<void> choose_layers(const Planning& p) {
    DeviceRequest& device = *p.request.device;
    int64_t scratch = 0, needed = 0;
    for (int64_t layers = device.layers; layers > 0; --layers) {
        const int64_t needed_before = needed;
        device.layers = layers;
        TRY_ASSIGN(p.planned.plan, make_weight_plan(p.planned.config, p.wanted, p.checkpoint, p.request));
        if (scratch == 0 || layers == most_device_layers(p.planned.config) - 1) {
            TRY_ASSIGN(const ScratchBytes measured, measure_scratch(p.planned, p.settings));
            scratch = measured.device;
        }
        needed = planned_device_bytes(p.planned.plan, device, scratch);
        if (needed > device.memory_bytes) continue;
        if (needed_before > 0) {
            p.planned.plan.device_notes.push_back(
                fmt::format("one layer more on the device would need {:.1f} MiB there",
                            static_cast<double>(needed_before) / (1 << 20)));
        }
        return {};
    }
    return fail(
        ErrorKind::out_of_memory,
        "not one layer of {} fits on the device ({}): {:.1f} MiB are needed, but {:.1f} MiB are {}; use --device cpu, "
        "a "
        "smaller --context or --chunk, or --cpu-experts",
        p.planned.config.name, device.facts.name, static_cast<double>(needed) / (1 << 20),
        static_cast<double>(device.memory_bytes) / (1 << 20), device.memory_source);
}

}  // namespace

Result<AcceleratorOpsSettings> device_ops_settings(const PlannedModel& planned, const EngineSettings& settings) {
    TRY_ASSIGN(const int64_t chunk_results, chunk_result_bytes(planned));
    return AcceleratorOpsSettings{.scratch_bytes = 0,
                                  .rows = planned.plan.chunk,
                                  .sequences = settings.sequences,
                                  .positions = planned.plan.context,
                                  .page_tables = std::ssize(planned.plan.cache_units),
                                  .chunk_result_bytes = chunk_results,
                                  .ranked_rows = planned.logits_on_device() ? settings.sequences : 0};
}

bool PlannedModel::wholly_on_device() const {
    const bool weights = std::all_of(plan.entries.begin(), plan.entries.end(), [](const PlanEntry& entry) {
        return entry.place == Place::device || entry.read_by_host;
    });
    return uses_device() && weights && std::all_of(plan.layer_places.begin(), plan.layer_places.end(), [](Place place) {
               return place == Place::device;
           });
}

bool PlannedModel::logits_on_device() const {
    return config.result == ModelResult::logits &&
           std::any_of(plan.entries.begin(), plan.entries.end(),
                       [](const PlanEntry& entry) { return entry.makes_logits && entry.place == Place::device; });
}

Result<ResolvedMachine> resolve_machine(const EngineSettings& settings) {
    const IsaSupport support = detect_isa();
    ResolvedMachine machine{.isa = support.highest(),
                            .threads = settings.threads > 0 ? settings.threads : available_cpus()};
    if (settings.isa) {
        if (!support.has(*settings.isa)) {
            return fail(ErrorKind::unsupported, "--isa {} cannot run here: {}; use --isa {} or leave it out",
                        isa_name(*settings.isa), support.missing[static_cast<size_t>(*settings.isa)],
                        isa_name(support.highest()));
        }
        machine.isa = *settings.isa;
    }
    return machine;
}

Result<PlannedModel> plan_model(const Checkpoint& checkpoint, const EngineSettings& settings) {
    PlannedModel planned;
    TRY_ASSIGN(planned.machine, resolve_machine(settings));
    const ResolvedMachine& machine = planned.machine;
    TRY_ASSIGN(planned.architecture, find_architecture(checkpoint));
    TRY_ASSIGN(planned.config, planned.architecture->read_config(checkpoint));
    if (settings.result == ModelResult::hidden) planned.config.result = ModelResult::hidden;
    choose_for_context(planned.config, planned_context(planned.config, settings.context));
    const std::vector<WantedWeight> wanted = planned.architecture->declare(planned.config, checkpoint);
    PlanRequest request{.vector_kernels = machine.isa != Isa::scalar,
                        .form = settings.form,
                        .cache_type = settings.cache_type,
                        .context = settings.context,
                        .chunk = settings.chunk,
                        .sequences = settings.sequences,
                        .cache_positions = settings.cache_positions,
                        .snapshots = settings.snapshots,
                        .memory_bytes = settings.memory_bytes,
                        .memory_source = settings.memory_source,
                        .device = std::nullopt};
    if (settings.device != nullptr && settings.gpu_layers != 0) {
        TRY_ASSIGN(DeviceRequest device, device_request(settings, planned.config));
        request.device.emplace(std::move(device));
    }
    if (request.device && !settings.gpu_layers) {
        TRY(choose_layers({planned, wanted, checkpoint, settings, request}));
    } else {
        TRY_ASSIGN(planned.plan, make_weight_plan(planned.config, wanted, checkpoint, request));
    }
    TRY_ASSIGN(const ScratchBytes scratch, measure_scratch(planned, settings));
    TRY(finish_plan(planned.plan, request, scratch));
    return planned;
}

}  // namespace invar
