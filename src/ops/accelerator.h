// A device beside the CPU as the rest of the engine sees it: its memory, copies, the packing of its weights, and its
// verbs. The code that plans, loads and dispatches (checkpoint/, generate/) knows this interface and no toolkit;
// cuda/cuda_backend.h implements it. A program that links no backend is complete: it has no accelerator to open.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "ops/ops.h"
#include "ops/preselection.h"

namespace invar {

struct AcceleratorFacts {
    std::string kind;        // "cuda": how paths and flags name it
    std::string name;        // "NVIDIA H200"
    std::string capability;  // "9.0"
    int index = 0;
    std::string driver;     // "driver for CUDA 13.0, runtime 13.0"
    bool emulated = false;  // runs on the CPU: its times say nothing about a device
    int64_t total_bytes = 0, free_bytes = 0;
    // The part of the total that was taken when it was opened, by this program's context and by other programs.
    int64_t taken_bytes = 0;
    // What loading the kernels took at that time, and how that is known; free_bytes excludes it.
    int64_t overhead_bytes = 0;
    std::string overhead_source;
};

// The time of one kernel, measured between two events.
struct KernelTime {
    std::string_view kernel;  // "decode", static text
    int64_t mark = 0;         // as mark_kernels() gave it before the launch
    double milliseconds = 0;
};

// The largest sizes its kernels can index; a larger model is an error of the plan.
struct AcceleratorLimits {
    int64_t rows = 0;          // of a result: tokens of a pass, times experts of a token
    int64_t row_elements = 0;  // of a result's row
    int64_t head_width = 0;
    int64_t latent_key_width = 0, latent_value_width = 0;  // of a layer whose values lie in its keys
    int64_t experts = 0;
};

// Memory of the device, freed with the last reference. The host must not read through it.
using DeviceMemory = std::shared_ptr<std::byte>;

struct AcceleratorOpsSettings {
    int64_t scratch_bytes = 0;       // as measured by a dry pass (measuring)
    int64_t rows = 512;              // of the largest batch
    int64_t sequences = 1;           // slots of the cache, at most
    int64_t positions = 4096;        // of the longest sequence
    int64_t page_tables = 1;         // groups of layers that have pages of their own
    int64_t chunk_result_bytes = 0;  // for attention split over chunks; less memory means fewer splits
    int64_t ranked_rows = 0;         // rows of logits that one ask() may cover
    // Take no memory and load no kernels: verbs only count their scratch, so that scratch_peak() after a pass over the
    // largest batch is the scratch_bytes that real ops need.
    bool measuring = false;
};

// Records passes of one AcceleratorOps once and replays them: a pass of a shape that was seen before is one launch,
// however many verbs it has. Results are those of the plain pass, bit for bit (docs/gpu.md, section 4).
class RecordedPasses {
  public:
    struct Counts {
        int64_t plain = 0, recorded = 0, replayed = 0;
        int64_t refused = 0;  // among the plain ones: shapes that cannot be recorded
    };

    virtual ~RecordedPasses() = default;
    // Returns the result of forward(), a tensor of the device that is valid until the next pass of the ops. forward()
    // calls their verbs for this batch and cache and does nothing else, because it is not called when the pass is
    // replayed. `model` tells forwards apart.
    virtual Result<Tensor> run(const void* model, const Batch& batch, const SequenceState& cache,
                               const std::function<Tensor()>& forward) = 0;
    virtual Counts counts() const = 0;
};

// The verbs on tensors, weights and caches of the device. A verb is launched without waiting; failure() and finish()
// wait.
class AcceleratorOps : public Ops {
  public:
    virtual int64_t scratch_peak() const = 0;
    // All device memory that the ops take with `scratch_bytes` of scratch, or would take if they were not measuring.
    virtual int64_t memory_bytes(int64_t scratch_bytes) const = 0;
    // The calls of this pass so far, and the index of the call that failure() names. A verb makes one or several calls.
    virtual int64_t calls() const = 0;
    virtual std::optional<int64_t> failed_call() const = 0;
    // The ops must outlive the result.
    virtual std::unique_ptr<RecordedPasses> make_recorded_passes() = 0;
    // Steps 1 to 4 of sampling, and the first tokens by rank. They are two calls so that nothing is sent to the device
    // while it computes: ask() sends one request per row of logits of the coming pass, at most ranked_rows; preselect()
    // waits for that pass and answers with its logits. preselect() takes scratch behind the pass's; while measuring it
    // does only that and there is no answer.
    virtual Result<void> ask(std::span<const Preselection> requests) = 0;
    virtual Result<std::vector<RankedLogits>> preselect(Tensor logits) = 0;
};

// The most the device reaches right now, with kernels that do nothing else.
struct AcceleratorCeilings {
    double read_gigabytes = 0, copy_gigabytes = 0;  // 1e9 bytes per second; a copy counts bytes read plus written
    double int8_multiply_adds = 0;                  // 1e9 per second, of tensor cores
};

// Holds the memory that is read and copied. Make it before a model takes the rest.
class AcceleratorProbes {
  public:
    virtual ~AcceleratorProbes() = default;
    // Errors: a device that failed or computes wrongly.
    virtual Result<AcceleratorCeilings> measure() = 0;
    virtual std::string_view int8_instruction() const = 0;
};

class Accelerator {
  public:
    virtual ~Accelerator() = default;

    virtual Result<AcceleratorFacts> facts() const = 0;
    virtual AcceleratorLimits limits() const = 0;

    // 256-byte aligned. The error names `what`, such as "the KV cache". After a failure the device is still usable.
    virtual Result<DeviceMemory> allocate(int64_t bytes, std::string_view what) = 0;
    // Bytes that an allocation of this size takes.
    virtual int64_t allocated_bytes(int64_t bytes) const = 0;
    // Copies are ordered with verbs. The source of an upload may be reused at once; a download has arrived on return.
    virtual Result<void> upload(std::byte* to, const void* from, int64_t bytes) = 0;
    // Uploads a source that is made piece by piece in page-locked host memory. Two pieces take turns: one is filled
    // while the other is copied. fill(first, piece) writes the bytes of the whole from `first` on, in rising order; its
    // error ends the upload.
    using FillPiece = std::function<Result<void>(int64_t first, std::span<std::byte> piece)>;
    virtual Result<void> upload_filled(std::byte* to, int64_t bytes, const FillPiece& fill) = 0;
    virtual Result<void> download(void* to, const std::byte* from, int64_t bytes) = 0;
    virtual Result<void> wait() = 0;

    // Matrices in StoredForm::device_lanes: the bytes of one (0 if there is no product of the format), the rows of a
    // group, and the packing of row groups [first, last) from rows as stored in a file. `packed` is where group `first`
    // goes. Groups are independent.
    virtual int64_t packed_bytes(const Format& format, int64_t rows, int64_t columns) const = 0;
    virtual int64_t group_rows() const = 0;
    struct Groups {
        const Format& format;
        const std::byte* stored;  // row 0
        int64_t rows = 0, columns = 0;
        int64_t first = 0, last = 0;
    };
    virtual void pack(const Groups& groups, std::byte* packed) const = 0;

    virtual Result<std::unique_ptr<AcceleratorOps>> make_ops(const AcceleratorOpsSettings& settings) = 0;

    // The accelerator must outlive the result.
    virtual Result<std::unique_ptr<AcceleratorProbes>> make_probes() = 0;
    // Between begin and end, every kernel that a verb launches runs between two events, which slows it down. Replayed
    // passes are not seen. mark_kernels() sets KernelTime::mark of the kernels launched from then on (0 at first).
    // end_kernel_times() waits.
    virtual Result<void> begin_kernel_times() = 0;
    virtual void mark_kernels(int64_t mark) = 0;
    virtual Result<std::vector<KernelTime>> end_kernel_times() = 0;
};

// Opens device `index`. Each error is one sentence: no such backend in this program, no driver, no device, too old.
using OpenAccelerator = Result<std::shared_ptr<Accelerator>> (*)(int index);

}  // namespace invar
