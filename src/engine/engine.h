// An Engine is one model, ready to compute. It opens the file, plans the weights, loads them onto the CPU or a device,
// and makes the thread pool, the verbs and the KV cache, in that order. It turns batches into logits. It knows nothing
// about text (conversation.h) and does not choose tokens (sampler.h).
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/weight_plan.h"
#include "cpu/cpu_ops.h"
#include "engine/split_ops.h"
#include "engine/step.h"
#include "files/checkpoint.h"
#include "load/weight_cache.h"
#include "machine/isa.h"
#include "machine/thread_pool.h"
#include "models/architecture.h"

namespace invar {

struct EngineSettings;  // engine/engine_settings.h

// The instruction set and the number of threads that the settings select on this machine. Errors: an instruction set or
// a kernel that this machine or build lacks.
struct ResolvedMachine {
    Isa isa = Isa::scalar;
    int threads = 1;
};
Result<ResolvedMachine> resolve_machine(const EngineSettings& settings);

// Everything that is known before the first byte of a tensor is read.
struct PlannedModel {
    ResolvedMachine machine;
    const Architecture* architecture = nullptr;
    ModelConfig config;
    WeightPlan plan;

    bool uses_device() const { return !plan.device.empty(); }
    bool wholly_on_device() const;  // the CPU holds no weight of a verb and no layer of the cache: the device runs all
    bool logits_on_device() const;  // the device computes the logits
};
Result<PlannedModel> plan_model(const Checkpoint& checkpoint, const EngineSettings& settings);
// Fills every field but scratch_bytes.
Result<AcceleratorOpsSettings> device_ops_settings(const PlannedModel& planned, const EngineSettings& settings);

class Engine {
  public:
    static Result<std::unique_ptr<Engine>> open(const EngineSettings& settings, const LoadProgress& progress);

    const Checkpoint& checkpoint() const { return checkpoint_; }
    const ModelConfig& config() const { return planned_.config; }
    const WeightPlan& plan() const { return planned_.plan; }
    const WeightRegistry& weights() const { return weights_; }
    const WeightCache* weight_cache() const { return weight_cache_.get(); }  // null if the model uses none
    const ResolvedMachine& machine() const { return planned_.machine; }
    ThreadPool& threads() { return *threads_; }
    Ops& ops() { return split_ops_ ? static_cast<Ops&>(*split_ops_) : *cpu_ops_; }
    const CpuOps& cpu_ops() const { return *cpu_ops_; }
    const SplitOps* split_ops() const { return split_ops_ ? &*split_ops_ : nullptr; }  // nullptr: CPU alone
    Accelerator* device() const { return split_ops_ ? device_.get() : nullptr; }
    // How many passes were recorded and replayed. Nothing if no pass can be recorded, because some verbs run on the CPU
    // or because the settings ask for plain passes.
    std::optional<RecordedPasses::Counts> recorded_passes() const;
    // Whether evaluate_ranked() can be called.
    bool ranks_on_device() const { return planned_.logits_on_device(); }
    SequenceState& cache() { return *cache_; }
    int64_t context() const { return planned_.plan.context; }
    int64_t chunk() const { return planned_.plan.chunk; }
    int sequences() const { return sequences_; }  // the number that the engine was opened for

    // Computes one pass over pieces of different sequences, at most chunk() tokens in all. Each piece that succeeds
    // extends its sequence. Each piece has its own result: logits, ranks, or the error that concerns it alone, in which
    // case its sequence stays as it was. Those errors are a token outside the vocabulary, a full context, a lack of
    // pages (busy) and a number that is not finite (numeric); if attention sees both ways, also a text that is longer
    // than chunk() or whose sequence is not empty. The step itself fails only if the machine does.
    Result<StepResults> step(std::span<const StepPiece> pieces);
    // The same through `verbs`, which must forward to ops(). No piece may ask for ranks.
    Result<StepResults> step(std::span<const StepPiece> pieces, Ops& verbs);

    // Gives logits [batch.logits_rows, vocabulary] in that order, valid until the next call. The batch has at most
    // chunk() rows, and the cache must have reserved its positions. If attention sees both ways, it has whole texts:
    // all positions of a sequence from 0 on. Errors: a result that is NaN or infinite; the error names the verb, the
    // layer and the element. Positions whose evaluation failed, or that were evaluated and not recorded by advance(),
    // must not be evaluated again if the model has recurrences: their states have moved on.
    Result<std::span<const float>> evaluate(const Batch& batch) { return evaluate(batch, ops()); }
    // The same through `verbs`, which must forward to ops(). Proofs use it to observe the pass that users get
    // (proof/record/hooked_ops.h). Such a pass is never a recorded one, because its observers run between the verbs.
    Result<std::span<const float>> evaluate(const Batch& batch, Ops& verbs);
    // evaluate(batch), but always verb by verb. Recorded passes are compared with it.
    Result<std::span<const float>> evaluate_plain(const Batch& batch);
    // evaluate(batch), but the logits stay on the device, which ranks them and returns the first tokens that each row's
    // request asks for. The batch has at most as many rows of logits as the engine has sequences.
    Result<std::vector<RankedLogits>> evaluate_ranked(const Batch& batch, std::span<const Preselection> requests);

  private:
    Engine(Checkpoint checkpoint, PlannedModel planned)
        : checkpoint_(std::move(checkpoint)), planned_(std::move(planned)) {}

    Result<void> make_ops(const EngineSettings& settings);
    Result<void> make_cache(CacheType type);
    Result<void> check_batch(const Batch& batch) const;
    Result<void> check_token(int32_t token) const;
    Result<void> check_piece(const StepPiece& piece);
    Result<Tensor> run_pass(const Batch& batch, Ops& verbs);
    Result<std::span<const float>> take_logits(Tensor logits, Ops& verbs) const;
    Result<void> check_finite(const Ops& verbs) const;

    Checkpoint checkpoint_;
    PlannedModel planned_;
    int sequences_ = 1;
    std::unique_ptr<ThreadPool> threads_;
    std::shared_ptr<Accelerator> device_;
    std::unique_ptr<WeightCache> weight_cache_;
    WeightRegistry weights_;
    std::unique_ptr<CpuOps> cpu_ops_;
    std::unique_ptr<AcceleratorOps> device_ops_;
    std::optional<SourceWeights> source_;
    std::optional<SplitOps> split_ops_;
    std::unique_ptr<RecordedPasses> recorded_;  // nullptr: every pass runs verb by verb
    std::unique_ptr<SequenceState> cache_;
    std::unique_ptr<Model> model_;
    std::vector<std::vector<float>> kept_logits_;  // the logits of each pass of a step but the last
};

}  // namespace invar
