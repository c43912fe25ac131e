#include "proof/reference64/reference64.h"

#include <new>

#include "models/long_rope.h"

namespace invar {

Result<std::unique_ptr<Reference64>> Reference64::open(const Reference64Settings& settings) {
    TRY_ASSIGN(Checkpoint checkpoint, Checkpoint::open(settings.model));
    std::unique_ptr<Reference64> reference(new Reference64(std::move(checkpoint)));
    const Checkpoint& opened = reference->checkpoint_;
    TRY_ASSIGN(const Architecture* architecture, find_architecture(opened));
    TRY_ASSIGN(reference->config_, architecture->read_config(opened));
    choose_for_context(reference->config_, planned_context(reference->config_, settings.context));
    const ModelConfig& config = reference->config_;
    const PlanRequest request{.vector_kernels = false,
                              .form = FormRequest::as_stored,
                              .cache_type = CacheType::f32,
                              .context = settings.context,
                              .chunk = settings.chunk,
                              .sequences = settings.sequences,
                              .snapshots = 0};
    TRY_ASSIGN(reference->plan_, make_weight_plan(config, architecture->declare(config, opened), opened, request));
    const int threads = settings.threads > 0 ? settings.threads : available_cpus();
    TRY_ASSIGN(reference->threads_, ThreadPool::create({.threads = threads}));
    TRY_ASSIGN(reference->weights_, load_weights(reference->plan_, opened, *reference->threads_, {}));
    reference->ops_ = std::make_unique<Float64Ops>(*reference->threads_, settings.activations);
    TRY_ASSIGN(reference->cache_, SequenceState::create({.geometry = config.state_geometry(request.cache_type),
                                                         .units = reference->plan_.cache_units,
                                                         .digest = "float64 " + config.name}));
    TRY_ASSIGN(reference->model_, architecture->build(config, reference->weights_));
    return reference;
}

Result<std::span<const float>> Reference64::evaluate(const Batch& batch, std::span<VerbHook* const> hooks) {
    CHECK(batch.size() > 0 && batch.size() <= chunk(), "a batch has between one row and a chunk of them");
    for (const BatchRow& row : batch.rows) {
        if (row.token < 0 || row.token >= config_.vocabulary) {
            return fail(
                "token {} is outside the model's vocabulary of {}; was the prompt made by another model's tokenizer?",
                row.token, config_.vocabulary);
        }
    }
    HookedOps hooked(*ops_, {hooks.begin(), hooks.end()});
    hooked.begin_pass();
    Tensor logits;
    try {
        logits = model_->forward(hooked, batch, *cache_);
    } catch (const std::bad_alloc&) {
        return fail(ErrorKind::out_of_memory,
                    "{}: not enough memory to evaluate {} rows in float64; use a smaller --chunk", checkpoint_.name(),
                    batch.size());
    }
    TRY(ops_->finish());
    if (const std::optional<NonFinite> failure = ops_->failure()) {
        const std::string where = failure->stage.layer < 0 ? std::string("outside the layers")
                                                           : fmt::format("in layer {}", failure->stage.layer);
        return fail(
            "{}: evaluated in float64, the result of {} ({}) {} is {} at row {}, element {}; the weights are damaged, "
            "run invar audit on the model",
            checkpoint_.name(), failure->stage.name, failure->verb, where, failure->value, failure->row,
            failure->element);
    }
    const auto count = static_cast<size_t>(logits.rows() * config_.result_width());
    wide_logits_ = {};
    if (count == 0) return std::span<const float>();
    wide_logits_ = {ops_->doubles(logits), count};
    return std::span<const float>(logits.host(), count);
}

}  // namespace invar
