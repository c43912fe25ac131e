// What a proof runs a model on: the engine as its users run it, or the float64 reference (reference64.h). Both take the
// same batches and show the same verbs to hooks, so that whatever records, compares or replays works on either.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "proof/record/hooked_ops.h"

namespace invar {

// What a routing was before it was rounded to binary32. nullptr where the runner has no more.
struct WideRouting {
    const double* probabilities = nullptr;  // [rows, experts]
    const double* weights = nullptr;        // [rows * experts_per_row]
    const double* margins = nullptr;        // [rows]
};
// The key and value of a position, [kv_heads * width] each. Empty where the runner has no more than the cache.
struct WideCacheRow {
    std::vector<double> key, value;
};

class ModelRunner {
  public:
    virtual ~ModelRunner() = default;

    virtual std::string name() const = 0;  // "engine avx512, 2 threads", "reference64"
    virtual const ModelConfig& config() const = 0;
    // Where sequences are added and positions reserved before they are computed.
    virtual SequenceState& cache() = 0;
    virtual int64_t chunk() const = 0;    // most rows of a batch
    virtual int64_t context() const = 0;  // most positions of a sequence
    // Logits [batch.logits_rows, vocabulary], valid until the next call. The hooks see every verb of the pass, in
    // order. A non-finite number is an error here, but the hooks have seen the whole pass by then.
    virtual Result<std::span<const float>> evaluate(const Batch& batch, std::span<VerbHook* const> hooks) = 0;
    // In after(): the result before it was rounded to binary32, or nullptr where the runner has no more than binary32.
    // Same rows, width and stride as the tensor.
    virtual const double* doubles(const Tensor& tensor) const { return nullptr; }
    virtual WideRouting wide_routing(const ExpertSlots& routing) const { return {}; }
    virtual WideCacheRow wide_cache_row(int layer, int32_t sequence, int64_t position) const { return {}; }
    // In after(): the kernel that ran; "" where the runner has none.
    virtual std::string_view kernel_of(const VerbCall& call) const { return ""; }
};

class EngineRunner final : public ModelRunner {
  public:
    explicit EngineRunner(Engine& engine) : engine_(engine) {}

    std::string name() const override;
    const ModelConfig& config() const override { return engine_.config(); }
    SequenceState& cache() override { return engine_.cache(); }
    int64_t chunk() const override { return engine_.chunk(); }
    int64_t context() const override { return engine_.context(); }
    Result<std::span<const float>> evaluate(const Batch& batch, std::span<VerbHook* const> hooks) override;
    std::string_view kernel_of(const VerbCall& call) const override;
    Engine& engine() { return engine_; }

  private:
    Engine& engine_;
};

// Room for the rows of a batch, and that they have been computed: their tokens are not named, because what hooks have
// changed is not what the tokens come to.
Result<void> reserve_rows(SequenceState& cache, const Batch& batch);
void advance_rows(SequenceState& cache, const Batch& batch);

// Feeds `tokens` to one sequence of the runner, from the position it has reached, in batches of at most `chunk` rows.
struct FeedRequest {
    int32_t sequence = 0;
    int64_t start = 0;  // position of tokens[0]
    std::span<const int32_t> tokens;
    int64_t chunk = 512;      // at most runner.chunk()
    bool all_logits = false;  // else of the last token only
};
// Called after each batch with its logits; the first row is that of logits_rows[0].
using LogitsOfBatch = std::function<void(const Batch& batch, std::span<const float> logits)>;
Result<void> feed(ModelRunner& runner, const FeedRequest& request, std::span<VerbHook* const> hooks,
                  const LogitsOfBatch& sink);

}  // namespace invar
