// The reference: the model of the same file, run by the same architecture table and the same forward(), but in float64
// with plain mathematics (float64_ops.h) instead of kernels. Weights stay in the mapped file and are decoded when they
// are used, so a model needs little more memory than its activations. It is slow, exact to about 1e-13, and gives the
// same bits for every batch and thread count. tests/proof/goldens_test.cpp compares it with other implementations.
#pragma once

#include <filesystem>
#include <memory>
#include <span>
#include <string>

#include "load/loader.h"
#include "proof/record/model_runner.h"
#include "proof/reference64/float64_ops.h"

namespace invar {

struct Reference64Settings {
    std::filesystem::path model;
    int threads = 0;      // 0: one per CPU that this process may use
    int64_t context = 0;  // positions; 0: the plan's default
    int64_t chunk = 512;  // the most rows of a batch
    int sequences = 1;    // how many sequences of `context` positions the cache holds
    float64::Activations activations = float64::Activations::exact;
};

class Reference64 final : public ModelRunner {
  public:
    // Errors: those of Engine::open for a file that cannot be opened, is not understood or cannot be bound.
    static Result<std::unique_ptr<Reference64>> open(const Reference64Settings& settings);

    std::string name() const override { return "reference64"; }
    const ModelConfig& config() const override { return config_; }
    SequenceState& cache() override { return *cache_; }  // holds binary32; the doubles are kept beside it
    int64_t chunk() const override { return plan_.chunk; }
    int64_t context() const override { return plan_.context; }
    Result<std::span<const float>> evaluate(const Batch& batch, std::span<VerbHook* const> hooks) override;
    const double* doubles(const Tensor& tensor) const override { return ops_->doubles(tensor); }
    WideRouting wide_routing(const ExpertSlots& routing) const override { return ops_->wide_routing(routing); }
    WideCacheRow wide_cache_row(int layer, int32_t sequence, int64_t position) const override {
        return ops_->wide_cache_row(*cache_, layer, sequence, position);
    }

    // The logits of the last evaluate(), [logits_rows, vocabulary], valid until the next one.
    std::span<const double> wide_logits() const { return wide_logits_; }
    const Checkpoint& checkpoint() const { return checkpoint_; }
    const WeightPlan& plan() const { return plan_; }

  private:
    explicit Reference64(Checkpoint checkpoint) : checkpoint_(std::move(checkpoint)) {}

    Checkpoint checkpoint_;
    ModelConfig config_;
    WeightPlan plan_;
    std::unique_ptr<ThreadPool> threads_;
    WeightRegistry weights_;
    std::unique_ptr<Float64Ops> ops_;
    std::unique_ptr<SequenceState> cache_;
    std::unique_ptr<Model> model_;
    std::span<const double> wide_logits_;
};

}  // namespace invar
