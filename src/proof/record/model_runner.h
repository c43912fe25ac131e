// The interface through which proofs run a model: the engine as its users run it, or the float64 reference
// (reference64.h). Both take the same batches and show the same verbs to hooks, so every recorder, comparison and
// replay works on either.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "proof/record/hooked_ops.h"

namespace invar {

// The values of a routing before they were rounded to binary32; nullptr if the runner has none.
struct WideRouting {
    const double* probabilities = nullptr;  // [rows, experts]
    const double* weights = nullptr;        // [rows * experts_per_row]
    const double* margins = nullptr;        // [rows]
};
// The key and value of a position before rounding, [kv_heads * width] each; empty if the runner has none.
struct WideCacheRow {
    std::vector<double> key, value;
};

class ModelRunner {
  public:
    virtual ~ModelRunner() = default;

    virtual std::string name() const = 0;  // "engine avx512, 2 threads", "reference64"
    virtual const ModelConfig& config() const = 0;
    // Sequences must be added and positions reserved here before they are computed.
    virtual SequenceState& cache() = 0;
    virtual int64_t chunk() const = 0;    // the most rows of a batch
    virtual int64_t context() const = 0;  // the most positions of a sequence
    // Gives logits [batch.logits_rows, vocabulary], valid until the next call. The hooks see every verb of the pass in
    // order. A number that is not finite is an error, which is returned after the hooks have seen the whole pass.
    virtual Result<std::span<const float>> evaluate(const Batch& batch, std::span<VerbHook* const> hooks) = 0;
    // To be called in after(): the result before it was rounded to binary32, with the rows, width and stride of the
    // tensor; nullptr if the runner computes in binary32.
    virtual const double* doubles(const Tensor& tensor) const { return nullptr; }
    virtual WideRouting wide_routing(const ExpertSlots& routing) const { return {}; }
    virtual WideCacheRow wide_cache_row(int layer, int32_t sequence, int64_t position) const { return {}; }
    // To be called in after(): the name of the kernel that ran; "" if the runner has none.
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

// reserve_rows() makes room for the rows of a batch, and advance_rows() marks them as computed. Their tokens are not
// named, because hooks may have changed the results, and the cache must not share them as results of these tokens.
Result<void> reserve_rows(SequenceState& cache, const Batch& batch);
void advance_rows(SequenceState& cache, const Batch& batch);

// Feeds `tokens` to one sequence of the runner, from the position it has reached, in batches of at most `chunk` rows;
// in one batch where attention sees both ways.
struct FeedRequest {
    int32_t sequence = 0;
    int64_t start = 0;  // the position of tokens[0]
    std::span<const int32_t> tokens;
    int64_t chunk = 512;      // at most runner.chunk()
    bool all_logits = false;  // otherwise those of the last token only
};
// Called after each batch with its logits, whose first row is that of logits_rows[0].
using LogitsOfBatch = std::function<void(const Batch& batch, std::span<const float> logits)>;
Result<void> feed(ModelRunner& runner, const FeedRequest& request, std::span<VerbHook* const> hooks,
                  const LogitsOfBatch& sink);

}  // namespace invar
