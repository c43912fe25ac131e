// The verbs on a device: which kernel computes what, in which device memory, and where the first non-finite number
// appeared. Verbs are launched and not waited for; failure() and read() wait. No result depends on the kernels chosen
// here. The verbs: ops/ops.h; the kernels: *.cuh; how they are tested without a GPU: docs/gpu.md.
//
// Weights are matrices of StoredForm::device_lanes and vectors in device memory; layers of the KV cache are those of
// Place::device.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "cuda/device.h"
#include "ops/accelerator.h"

namespace invar {

struct RowTiles;

struct CudaOpsSettings {
    Device& device;  // outlives the CudaOps
    int64_t scratch_bytes = 0;
    int64_t rows = 512;                              // of the largest batch
    int64_t sequences = 1;                           // slots of the cache, at most
    int64_t page_tables = 1;                         // groups of layers of the cache
    int64_t positions = 4096;                        // of the longest sequence
    int64_t chunk_result_bytes = int64_t{64} << 20;  // for attention split over chunks; with less it is split less
    int64_t ranked_rows = 0;                         // of logits, that ask() may ask about at once
    bool measuring = false;                          // see AcceleratorOpsSettings
};

class CudaOps final : public AcceleratorOps {
  public:
    static Result<std::unique_ptr<CudaOps>> create(const CudaOpsSettings& settings);
    ~CudaOps() override;

    // Elements of a tensor of this device, row after row. Waits.
    Result<std::vector<float>> read(Tensor tensor);
    // The first error of the device since begin_pass(): a lost device, or what the emulation found.
    Result<void> device_error() const { return error_; }

    int64_t scratch_peak() const override { return peak_; }
    int64_t memory_bytes(int64_t scratch_bytes) const override;
    int64_t calls() const override { return static_cast<int64_t>(calls_.size()); }
    std::optional<int64_t> failed_call() const override;
    std::unique_ptr<RecordedPasses> make_recorded_passes() override;  // pass_graphs.h
    Result<void> ask(std::span<const Preselection> requests) override;
    Result<std::vector<RankedLogits>> preselect(Tensor logits) override;
    Result<void> finish() override;

    Tensor scratch(int64_t rows, int64_t width) override;
    ExpertSlots scratch_slots(int64_t rows, int experts_per_row) override;
    void begin_pass() override;
    std::optional<NonFinite> failure() const override;

    void embed(Stage stage, const WeightMatrix& table, const Batch& batch, Tensor out) override;
    void rms_norm(Stage stage, Tensor x, const WeightVector& weight, float epsilon, Tensor y) override;
    void linear(Stage stage, const WeightMatrix& weight, Tensor x, Tensor y) override;
    void linear_many(std::span<const LinearJob> jobs, Tensor x) override;
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
    friend class PassGraphs;
    struct Control;
    struct Operand;  // a quantised or reordered x (cuda_ops_linear.cu)

    explicit CudaOps(const CudaOpsSettings& settings);
    std::byte* take(int64_t bytes);
    template <class T>
    T* take_elements(int64_t count) {
        return reinterpret_cast<T*>(take(count * static_cast<int64_t>(sizeof(T))));
    }
    struct Failed {
        uint64_t key;
    };
    std::optional<Failed> failed() const;
    void keep(Result<void> result);
    int next_call(std::string_view verb, Stage stage);
    void reset_pass();
    void start_pass(const Batch& batch, const KvCache& cache);
    void send_cells();
    void write_batch(const Batch& batch);
    void write_tiles(const Batch& batch, RowTiles& tiles);
    void bring_batch(const Batch& batch);
    void bring_pages(const Batch& batch, const KvCache& cache);
    const RowTiles& bring_tiles(const Batch& batch, int rows_of_tile);
    int64_t bring_frequencies(const RopeTable& table);
    const float* angles_of(const RopeTable& table, const Batch& batch);
    Operand prepare(bool quantised, bool tiles, Tensor x);
    void product(Stage stage, const WeightMatrix& weight, const Operand& x, Tensor y);

    CudaOpsSettings settings_;
    DeviceBytes memory_;
    std::unique_ptr<Control> control_;
    int64_t taken_ = 0, peak_ = 0;
    Result<void> error_;

    struct Call {
        std::string_view verb, second_verb;  // of job 0 and job 1
        Stage stage;
    };
    std::vector<Call> calls_;  // of this pass: what the failure cell's number means
    // What the device was asked last.
    std::vector<int> asked_counts_;  // of tokens, by row
    int64_t asked_edits_ = 0;
};

}  // namespace invar
