// The verbs on a device: which kernel computes what, in which device memory, and where the first non-finite number
// appeared. A verb is launched without waiting; failure() and read() wait. No result depends on the kernels chosen
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
    int64_t chunk_result_bytes = int64_t{64} << 20;  // for attention split over chunks; less memory means fewer splits
    int64_t ranked_rows = 0;                         // rows of logits that one ask() may cover
    bool measuring = false;                          // see AcceleratorOpsSettings
};

class CudaOps final : public AcceleratorOps {
  public:
    static Result<std::unique_ptr<CudaOps>> create(const CudaOpsSettings& settings);
    ~CudaOps() override;

    // Reads the elements of a tensor of this device, row after row. Waits.
    Result<std::vector<float>> read(Tensor tensor);
    // The first error of the device since begin_pass(): a lost device, or a fault that the emulation found.
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

    void run(const VerbCall& call) override;
    void run_together(std::span<const VerbCall> calls) override;

  private:
    friend class PassGraphs;
    struct Control;
    struct Operand;  // a quantised or reordered x (cuda_ops_linear.cu)

    // The body of a verb: a row of one of the lists below. A verb without one is an error of the plan.
    struct Body {
        Verb verb = Verb::count;
        void (*run)(CudaOps& cuda, const VerbCall& call) = nullptr;
        // Computes several calls as one where that is faster; otherwise nullptr.
        void (*run_together)(CudaOps& cuda, std::span<const VerbCall> calls) = nullptr;
    };
    struct RowVerbs;                                   // the bodies that work row by row (cuda_ops.cu)
    struct ElementVerbs;                               // the bodies that work element by element (cuda_ops_elements.cu)
    static std::span<const Body> row_bodies();         // cuda_ops.cu
    static std::span<const Body> element_bodies();     // cuda_ops_elements.cu
    static std::span<const Body> product_bodies();     // cuda_ops_linear.cu
    static std::span<const Body> position_bodies();    // cuda_ops_positions.cu
    static std::span<const Body> recurrence_bodies();  // cuda_ops_recurrences.cu
    static const Body* body_of(Verb verb);
    bool lacks(const VerbCall& call);  // if so, finish() names what is lacking

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
    int next_call(const VerbCall& call) { return next_call(verb_name(call.verb), call.stage); }
    int next_call(std::string_view verb, Stage stage);
    void reset_pass();
    void start_pass(const Batch& batch, const SequenceState& cache);
    void send_cells();
    void write_batch(const Batch& batch);
    void write_tiles(const Batch& batch, RowTiles& tiles);
    void bring_batch(const Batch& batch);
    void bring_pages(const Batch& batch, const SequenceState& cache);
    const RowTiles& bring_tiles(const Batch& batch, int rows_of_tile);
    int64_t bring_frequencies(const RopeTable& table);
    const float* angles_of(const RopeTable& table, const Batch& batch);
    void rotate(const VerbCall& call);
    void store(const VerbCall& call);
    void attend(const VerbCall& call);
    Operand prepare(bool quantized, bool tiles, Tensor x);
    void multiply(std::span<const VerbCall> calls);
    void product(const VerbCall& call, const Operand& x);
    void expert_product(const VerbCall& call);
    void head_product(const VerbCall& call);
    void slot_product(const VerbCall& call, const int32_t* experts, int64_t slots, int slots_of_row);
    void convolve(const VerbCall& call);
    void recur(const VerbCall& call);

    CudaOpsSettings settings_;
    DeviceBytes memory_;
    std::unique_ptr<Control> control_;
    int64_t taken_ = 0, peak_ = 0;
    Result<void> error_;

    struct Call {
        std::string_view verb, second_verb;  // of job 0 and job 1
        Stage stage;
    };
    std::vector<Call> calls_;  // of this pass; the number in the failure cell is an index into it
    // The last request to the device.
    std::vector<int> asked_counts_;  // number of tokens, by row
    int64_t asked_edits_ = 0;
};

}  // namespace invar
