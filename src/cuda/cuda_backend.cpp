// Implements the engine's interface of a device with its memory, its packing and its verbs. It decides nothing.
#include "cuda/cuda_backend.h"

#include <algorithm>

#include "cuda/cuda_ops.h"
#include "cuda/device.h"
#include "cuda/probes.h"
#include "cuda/product_formats.h"
#include "cuda/weight_layout.h"
#include "cuda/weight_packing.h"

namespace invar {
namespace {

// The largest sizes that kernels index (failure.cuh, attention.cuh, latent_attention.cuh, routing.cuh); CudaOps checks
// the same.
constexpr AcceleratorLimits kLimits = {.rows = (1 << 16) - 1,
                                       .row_elements = (1 << 22) - 1,
                                       .head_width = 512,
                                       .latent_key_width = 576,
                                       .latent_value_width = 512,
                                       .experts = 1024};

class CudaProbes final : public AcceleratorProbes {
  public:
    explicit CudaProbes(DeviceProbes probes) : probes_(std::move(probes)) {}
    Result<AcceleratorCeilings> measure() override {
        TRY_ASSIGN(const DeviceProbe probe, probes_.measure());
        return AcceleratorCeilings{.read_gigabytes = probe.read_bytes_per_second() / 1e9,
                                   .copy_gigabytes = probe.copied_bytes_per_second() / 1e9,
                                   .int8_multiply_adds = probe.multiply_adds_per_second() / 1e9};
    }
    std::string_view int8_instruction() const override { return kInt8ProbeInstruction; }

  private:
    DeviceProbes probes_;
};

// Larger than every L2 (128 MiB at most today), and a small part of a device's memory; the emulation only counts.
ProbeSettings probe_settings(const DeviceFacts& facts) {
    if (facts.emulated) return {.copy_bytes = 64 << 10, .rounds = 2, .runs = 1};
    ProbeSettings settings;
    settings.copy_bytes = std::min(settings.copy_bytes, facts.total_bytes / 32 >> 20 << 20);
    return settings;
}

class CudaAccelerator final : public Accelerator {
  public:
    CudaAccelerator(std::unique_ptr<Device> device, int index) : device_(std::move(device)), index_(index) {}

    Result<AcceleratorFacts> facts() const override {
        TRY_ASSIGN(const DeviceFacts facts, device_->facts());
        return AcceleratorFacts{
            .kind = "cuda",
            .name = facts.name,
            .capability = fmt::format("{}.{}", facts.compute_capability / 10, facts.compute_capability % 10),
            .index = index_,
            .driver = facts.driver,
            .emulated = facts.emulated,
            .total_bytes = facts.total_bytes,
            .free_bytes = facts.free_bytes,
            .taken_bytes = facts.taken_bytes,
            .overhead_bytes = facts.overhead_bytes,
            .overhead_source = facts.overhead_source};
    }
    AcceleratorLimits limits() const override { return kLimits; }

    Result<DeviceMemory> allocate(int64_t bytes, std::string_view what) override {
        return device_->allocate(bytes, what);
    }
    int64_t allocated_bytes(int64_t bytes) const override { return Device::allocated_bytes(bytes); }
    Result<void> upload(std::byte* to, const void* from, int64_t bytes) override {
        return device_->upload(to, from, bytes);
    }
    Result<void> upload_filled(std::byte* to, int64_t bytes, const FillPiece& fill) override {
        return device_->upload_filled(to, bytes, fill);
    }
    Result<void> download(void* to, const std::byte* from, int64_t bytes) override {
        return device_->download(to, from, bytes);
    }
    Result<void> wait() override { return device_->wait(); }

    int64_t packed_bytes(const Format& format, int64_t rows, int64_t columns) const override {
        return cuda::has_products(format.id) ? cuda::device_weight_bytes(format.id, rows, columns) : 0;
    }
    int64_t group_rows() const override { return cuda::kGroupRows; }
    void pack(const Groups& groups, std::byte* packed) const override {
        cuda::pack_weights(groups.format, groups.stored, groups.rows, groups.columns, groups.first, groups.last,
                           packed);
    }

    Result<std::unique_ptr<AcceleratorOps>> make_ops(const AcceleratorOpsSettings& settings) override {
        return CudaOps::create({.device = *device_,
                                .scratch_bytes = settings.scratch_bytes,
                                .rows = settings.rows,
                                .sequences = settings.sequences,
                                .page_tables = settings.page_tables,
                                .positions = settings.positions,
                                .chunk_result_bytes = settings.chunk_result_bytes,
                                .ranked_rows = settings.ranked_rows,
                                .measuring = settings.measuring});
    }

    Result<std::unique_ptr<AcceleratorProbes>> make_probes() override {
        TRY_ASSIGN(const DeviceFacts facts, device_->facts());
        TRY_ASSIGN(DeviceProbes probes, DeviceProbes::create(*device_, probe_settings(facts)));
        return std::make_unique<CudaProbes>(std::move(probes));
    }
    Result<void> begin_kernel_times() override { return device_->begin_timing(); }
    void mark_kernels(int64_t mark) override { device_->mark_kernels(mark); }
    Result<std::vector<KernelTime>> end_kernel_times() override { return device_->end_timing(); }

  private:
    std::unique_ptr<Device> device_;
    const int index_;
};

}  // namespace

std::shared_ptr<Accelerator> make_cuda_accelerator(std::unique_ptr<Device> device, int index) {
    return std::make_shared<CudaAccelerator>(std::move(device), index);
}

Result<std::shared_ptr<Accelerator>> open_cuda(int index) {
    TRY_ASSIGN(std::unique_ptr<Device> device, Device::open(index));
    return make_cuda_accelerator(std::move(device), index);
}

}  // namespace invar
