// One model, ready to compute: the file, its plan, its weights on the CPU or a device, a thread pool, the verbs and the
// KV cache, made in that order. It turns a batch into logits and decides nothing about text (conversation.h) or choice
// of tokens (sampler.h).
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

// What the machine and the settings come to: refuses an instruction set or a kernel that this machine or build lacks.
struct ResolvedMachine {
    Isa isa = Isa::scalar;
    int threads = 1;
};
Result<ResolvedMachine> resolve_machine(const EngineSettings& settings);

// Everything that is known before a payload byte is read.
struct PlannedModel {
    ResolvedMachine machine;
    const Architecture* architecture = nullptr;
    ModelConfig config;
    WeightPlan plan;

    bool uses_device() const { return !plan.device.empty(); }
    bool wholly_on_device() const;  // every verb of a pass: no weight and no layer of the cache is on the CPU
    bool logits_on_device() const;  // are made there
};
Result<PlannedModel> plan_model(const Checkpoint& checkpoint, const EngineSettings& settings);
// All but scratch_bytes.
Result<AcceleratorOpsSettings> device_ops_settings(const PlannedModel& planned, const EngineSettings& settings);

class Engine {
  public:
    static Result<std::unique_ptr<Engine>> open(const EngineSettings& settings, const LoadProgress& progress);

    const Checkpoint& checkpoint() const { return checkpoint_; }
    const ModelConfig& config() const { return planned_.config; }
    const WeightPlan& plan() const { return planned_.plan; }
    const WeightRegistry& weights() const { return weights_; }
    const WeightCache* weight_cache() const { return weight_cache_.get(); }  // null where none is used
    const ResolvedMachine& machine() const { return planned_.machine; }
    ThreadPool& threads() { return *threads_; }
    Ops& ops() { return split_ops_ ? static_cast<Ops&>(*split_ops_) : *cpu_ops_; }
    const CpuOps& cpu_ops() const { return *cpu_ops_; }
    const SplitOps* split_ops() const { return split_ops_ ? &*split_ops_ : nullptr; }  // nullptr: the CPU alone
    Accelerator* device() const { return split_ops_ ? device_.get() : nullptr; }
    // How passes ran that evaluate(batch) could record; nothing: some of their verbs are on the CPU, or all passes are
    // to be plain.
    std::optional<RecordedPasses::Counts> recorded_passes() const;
    // Whether evaluate_ranked() can be called.
    bool ranks_on_device() const { return planned_.logits_on_device(); }
    SequenceState& cache() { return *cache_; }
    int64_t context() const { return planned_.plan.context; }
    int64_t chunk() const { return planned_.plan.chunk; }
    int sequences() const { return sequences_; }  // that it was opened for

    // One pass over pieces of different sequences, at most chunk() tokens in all; those that were computed follow in
    // their sequences. Each piece has its own result: logits or ranks, or the error that struck it alone, which is a
    // token outside the vocabulary, a full context, pages that are lacking (busy) or a number that is not finite
    // (numeric); its sequence stays as it was. Errors of the step itself: the machine failed.
    Result<StepResults> step(std::span<const StepPiece> pieces);
    // Through `verbs`, which forwards to ops(); no piece is ranked.
    Result<StepResults> step(std::span<const StepPiece> pieces, Ops& verbs);

    // Logits [batch.logits_rows, vocabulary] in that order, valid until the next call. The batch has at most chunk()
    // rows and its positions were reserved in the cache. A NaN or an infinity anywhere is an error naming verb, layer,
    // element.
    Result<std::span<const float>> evaluate(const Batch& batch) { return evaluate(batch, ops()); }
    // The same through `verbs`, which forwards to ops(): how proofs observe the pass that users get
    // (proof/record/hooked_ops.h). Such a pass is never a recorded one: its observers stand between the verbs.
    Result<std::span<const float>> evaluate(const Batch& batch, Ops& verbs);
    // evaluate(batch) verb by verb, what recorded passes are compared with.
    Result<std::span<const float>> evaluate_plain(const Batch& batch);
    // evaluate(batch), but the logits stay on the device, which ranks them: of each row the first tokens that its
    // request asks for. At most as many rows as the engine was opened with sequences.
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
    std::unique_ptr<RecordedPasses> recorded_;  // nullptr: passes are plain
    std::unique_ptr<SequenceState> cache_;
    std::unique_ptr<Model> model_;
    std::vector<std::vector<float>> kept_logits_;  // of a step's passes but the last
};

}  // namespace invar
