// The verbs in float64: whole passes of the mathematics in float64_math.h, an independent measure of what the engine
// computes. Every tensor has a binary32 and a binary64 array. Verbs read and write the doubles, and the floats are
// their rounding, so that hooks made for any backend work. If a hook changes a float (replay, forced routing), the
// change counts: a double is used only while the float beside it is its rounding. Keys and values follow the same rule:
// their doubles are kept beside the pages of the SequenceState. Models are opened by reference64.h.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "machine/thread_pool.h"
#include "ops/ops.h"
#include "proof/record/model_runner.h"
#include "proof/reference64/float64_math.h"
#include "proof/reference64/float64_rows.h"

namespace invar {

class Float64Ops final : public Ops {
  public:
    explicit Float64Ops(ThreadPool& pool,
                        float64::Activations activations = float64::Activations::exact)  // the pool outlives this
        : pool_(pool), activations_(activations), rooms_(static_cast<size_t>(pool.threads())) {}

    // The doubles of a tensor or view made by scratch(), with the same rows, width and stride. nullptr for other
    // tensors.
    const double* doubles(const Tensor& tensor);
    // The results of route(), valid until the next pass. Empty for slots not made by scratch_slots().
    WideRouting wide_routing(const ExpertSlots& routing);
    // A key and a value as they were stored, [kv_heads * width] each.
    WideCacheRow wide_cache_row(const SequenceState& cache, int layer, int32_t sequence, int64_t position);

    Tensor scratch(int64_t rows, int64_t width) override;
    ExpertSlots scratch_slots(int64_t rows, int experts_per_row) override;
    void begin_pass() override;
    std::optional<NonFinite> failure() const override { return failure_; }

    // Each verb has one body: in float64_rows.h, or one of the members below.
    void run(const VerbCall& call) override;
    Result<void> finish() override { return lacking_; }

  private:
    // The memory of one scratch(). It is kept, because every pass asks for the same sizes in the same order.
    struct Block {
        std::unique_ptr<float[]> floats;
        std::unique_ptr<double[]> doubles;
        int64_t size = 0;
    };
    struct Slots {
        std::unique_ptr<int32_t[]> experts;
        std::unique_ptr<float[]> weights, margins;
        std::vector<double> wide_weights, wide_margins;
        std::vector<double> probabilities;  // [rows, experts]
    };
    // The doubles of a tensor during one verb.
    struct Wide {
        double* data = nullptr;
        int64_t stride = 0;
        double* row(int64_t i) const { return data + i * stride; }
    };
    // Keys [kv_heads][64][key_width] and values [kv_heads][64][value_width] of one page in one layer.
    struct WidePage {
        std::vector<double> keys, values;
    };

    double* find(const float* place) const;
    Wide output(Tensor tensor);
    Wide input(Tensor tensor);
    // Rounds a verb's result into the floats and looks for the first number that is not finite.
    void finish(const VerbCall& call, Wide wide);
    void inspect(std::string_view verb, Stage stage, int64_t row, const double* values, int64_t count);
    void run_rows(const VerbCall& call, float64::RowBody body);
    void linear(const VerbCall& call);
    void store(const VerbCall& call);
    void attend(const VerbCall& call);
    void route(const VerbCall& call);
    void expert_linear(const VerbCall& call);
    void head_linear(const VerbCall& call);
    void recur(const VerbCall& call);
    std::vector<double>& follow_recurrence(std::span<const float> stored);
    Slots* find_slots(const ExpertSlots& routing);
    std::vector<double> slot_weights(const ExpertSlots& routing);
    void multiply(const WeightMatrix& matrix, std::span<const double* const> x, std::span<double* const> y);

    WidePage& wide_page(const SequenceState& cache, int layer, int32_t page);
    void follow_cache(const SequenceState& cache, int layer, int32_t sequence, int64_t first, int64_t last);

    ThreadPool& pool_;
    const float64::Activations activations_;
    std::vector<float64::ProductRoom> rooms_;  // one per worker
    std::vector<Block> blocks_;
    size_t blocks_taken_ = 0;
    std::vector<std::unique_ptr<double[]>> foreign_;  // doubles of tensors made elsewhere, kept for one verb
    std::vector<Slots> slots_;
    std::map<std::pair<int, int32_t>, WidePage> pages_;        // by (layer, page)
    std::map<const float*, std::vector<double>> recurrences_;  // by the place of the state that they belong to
    std::optional<NonFinite> failure_;
    Result<void> lacking_;  // an error for the first call that has no body here
};

}  // namespace invar
