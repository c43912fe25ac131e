// The verbs of a model that is split between the CPU and a device. Each verb runs where its weight, its layer of the
// sequence state or its data is. When it needs a tensor that the other place made, the tensor is copied. Every tensor
// has memory at both places, and this class remembers at which of them it is current. No result depends on the split,
// because both places compute the same definition.
//
// The tensors that the model and observers hold are those of the host. An observer calls Ops::to_host before it reads
// one.
#pragma once

#include <deque>
#include <functional>
#include <vector>

#include "cpu/cpu_ops.h"
#include "engine/source_weights.h"
#include "ops/accelerator.h"

namespace invar {

struct SplitOpsSettings {
    CpuOps& host;  // every reference must outlive the SplitOps
    AcceleratorOps& device;
    Accelerator& accelerator;
    SourceWeights& source;   // read by observers
    bool measuring = false;  // both sides only measure memory, so nothing is copied
};

class SplitOps final : public Ops {
  public:
    explicit SplitOps(const SplitOpsSettings& settings) : settings_(settings) {}

    // Bytes copied since construction, not counting batches, page tables and requests for ranks.
    int64_t uploaded_bytes() const { return uploaded_; }
    int64_t downloaded_bytes() const { return downloaded_; }
    Place last_place() const { return last_place_; }  // where the last verb ran
    // Takes over the result of a recorded pass, which ran on the device without calling this object. `made` is on the
    // device.
    Tensor adopt_pass(Tensor made);
    // ask() before a pass and preselect() on its logits forward to the device's AcceleratorOps.
    Result<void> ask(std::span<const Preselection> requests) { return settings_.device.ask(requests); }
    Result<std::vector<RankedLogits>> preselect(Tensor logits);

    Tensor scratch(int64_t rows, int64_t width) override;
    ExpertSlots scratch_slots(int64_t rows, int experts_per_row) override;
    void begin_pass() override;
    std::optional<NonFinite> failure() const override;
    Result<void> finish() override;

    void to_host(Tensor x) override;
    void from_host(Tensor x) override;
    void to_host(const ExpertSlots& slots) override;
    void from_host(const ExpertSlots& slots) override;
    void to_host(const SequenceState& cache, int layer, const Batch& batch) override;
    void from_host(const SequenceState& cache, int layer, const Batch& batch) override;
    std::optional<WeightMatrix> host_matrix(const WeightMatrix& weight) override;
    std::optional<WeightStack> host_stack(const WeightStack& weight) override;
    std::optional<WeightVector> host_vector(const WeightVector& weight) override;

    void run(const VerbCall& call) override;
    void run_together(std::span<const VerbCall> calls) override;

  private:
    // The memory of one scratch tensor or of one array of expert slots.
    struct Buffer {
        std::byte *host = nullptr, *device = nullptr;
        int64_t bytes = 0;
        bool on_host = false, on_device = false;  // where the data is current; neither: nothing was written yet

        bool current(Place place) const { return place == Place::host ? on_host : on_device; }
    };

    void forget_pass();
    void add_buffer(const void* host, const void* device, int64_t bytes);
    Buffer* find_buffer(const void* host);
    Buffer& buffer_of(const void* host);
    std::byte* foreign_bytes(const void* host, int64_t bytes, std::string_view what);
    Tensor foreign_input(Tensor x, Place place);
    const WeightVector* vector_at(const WeightVector* vector, Place place);
    void keep(Result<void> result);
    void bring(Buffer& buffer, Place place);
    std::byte* at(const Buffer& buffer, const void* host, Place place) const;
    Tensor side(Tensor x, Place place);
    // The tensor's memory at a place: input() brings its data there first, result() marks it as written there.
    Tensor input(Tensor x, Place place);
    Tensor result(Tensor y, Place place);
    template <class T>
    T* input_slots(T* array, Place place);
    void changed_on_host(Buffer& buffer);
    ExpertSlots result_slots(const ExpertSlots& slots, Place place);
    // Where x was made. If it is current at both places, where `other` is.
    Place place_of(Tensor x, Tensor other);
    // Where a call runs, which its row of the verb table decides.
    Place place_of(const VerbCall& call);
    // The call with all its tensors replaced by their memory at a place.
    VerbCall moved(const VerbCall& call, Place place);
    void each_page(const SequenceState& cache, int layer, const Batch& batch,
                   const std::function<void(std::byte* host, std::byte* device, int64_t bytes)>& use);

    // Runs calls at a place and numbers them, so that the first failure of a pass can be found.
    void run_at(Place place, std::span<const VerbCall> calls);

    SplitOpsSettings settings_;
    std::vector<Buffer> buffers_;
    std::vector<DeviceMemory> foreign_;
    std::deque<WeightVector> foreign_vectors_;
    Result<void> error_;
    int64_t uploaded_ = 0, downloaded_ = 0;

    Place last_place_ = Place::host;
    int verb_ = 0;  // the number of the next verb in this pass
    std::optional<int> failed_on_host_;
    std::vector<int> verb_of_call_;  // the verb number of each call of the device
};

}  // namespace invar
