// The verbs in float64: whole passes of the mathematics in float64_math.h, as the independent measure of what the
// engine computes. Every tensor is a pair of binary32 and binary64 arrays: verbs read and write the doubles, and the
// floats are their rounding, so that hooks made for any backend work. A hook that changes a float (replay, forced
// routing) wins: a double is used only while the float beside it is its rounding. Keys and values are kept in doubles
// too, beside the pages of the KvCache, whose floats follow the same rule. It does not open models (reference64.h).
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

namespace invar {

class Float64Ops final : public Ops {
  public:
    explicit Float64Ops(ThreadPool& pool,
                        float64::Activations activations = float64::Activations::exact)  // pool outlives this
        : pool_(pool), activations_(activations), rooms_(static_cast<size_t>(pool.threads())) {}

    // The doubles of a tensor or view made by scratch(): same rows, width and stride. nullptr: made elsewhere.
    const double* doubles(const Tensor& tensor);
    // What route() made, until the next pass. Empty: not made by scratch_slots().
    WideRouting wide_routing(const ExpertSlots& routing);
    // A key and a value as they were stored, [kv_heads * width] each.
    WideCacheRow wide_cache_row(const KvCache& cache, int layer, int32_t sequence, int64_t position);

    Tensor scratch(int64_t rows, int64_t width) override;
    ExpertSlots scratch_slots(int64_t rows, int experts_per_row) override;
    void begin_pass() override;
    std::optional<NonFinite> failure() const override { return failure_; }

    void embed(Stage stage, const WeightMatrix& table, const Batch& batch, Tensor out) override;
    void rms_norm(Stage stage, Tensor x, const WeightVector& weight, float epsilon, Tensor y) override;
    void linear(Stage stage, const WeightMatrix& weight, Tensor x, Tensor y) override;
    void add_bias(Stage stage, Tensor y, const WeightVector& bias) override;
    void rope(Stage stage, const RopeTable& table, const Batch& batch, Tensor x) override;
    void store_kv(Stage stage, int layer, const Batch& batch, Tensor keys, Tensor values, KvCache& cache) override;
    void attention(Stage stage, const AttentionCall& spec, const Batch& batch, Tensor queries, const KvCache& cache,
                   Tensor out) override;
    void silu_multiply(Stage stage, Tensor gate, Tensor up, Tensor out) override;
    void add(Stage stage, Tensor x, Tensor y) override;
    void route(Stage stage, const RouteSpec& spec, Tensor logits, ExpertSlots routing) override;
    void expert_linear(Stage stage, const WeightStack& experts, const ExpertSlots& routing, SlotInput input, Tensor x,
                       Tensor out) override;
    void combine_experts(Stage stage, const ExpertSlots& routing, Tensor slots, Tensor y) override;
    void gather_rows(Stage stage, Tensor x, std::span<const int32_t> rows, Tensor out) override;

  private:
    // The memory of one scratch(). Kept from pass to pass: a pass asks for the same sizes in the same order.
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
    // The doubles of a tensor for one verb.
    struct Wide {
        double* data = nullptr;
        int64_t stride = 0;
        double* row(int64_t i) const { return data + i * stride; }
    };
    // Keys [kv_heads][64][key_width] and values [kv_heads][64][value_width] of one page and layer.
    struct WidePage {
        std::vector<double> keys, values;
    };

    double* find(const float* place) const;
    Wide output(Tensor tensor);
    Wide input(Tensor tensor);
    // Rounds what a verb made into the floats and looks for the first non-finite number.
    void finish(std::string_view verb, Stage stage, Tensor out, Wide wide);
    void inspect(std::string_view verb, Stage stage, int64_t row, const double* values, int64_t count);
    Slots* find_slots(const ExpertSlots& routing);
    std::vector<double> slot_weights(const ExpertSlots& routing);
    void multiply(const WeightMatrix& matrix, std::span<const double* const> x, std::span<double* const> y);

    WidePage& wide_page(const KvCache& cache, int layer, int32_t page);
    void follow_cache(const KvCache& cache, int layer, int32_t sequence, int64_t first, int64_t last);

    ThreadPool& pool_;
    const float64::Activations activations_;
    std::vector<float64::ProductRoom> rooms_;  // by worker
    std::vector<Block> blocks_;
    size_t blocks_taken_ = 0;
    std::vector<std::unique_ptr<double[]>> foreign_;  // doubles of tensors made elsewhere, for one verb
    std::vector<Slots> slots_;
    std::map<std::pair<int, int32_t>, WidePage> pages_;  // by (layer, page)
    std::optional<NonFinite> failure_;
};

}  // namespace invar
