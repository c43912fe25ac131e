// The emulated device: host memory that only kernels may touch, and the emulator as its stream. A fault that the
// emulator finds is the error of the next wait. See device.h.
#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "cuda/device_emulated.h"
#include "cuda/device_stream.cuh"

namespace invar {

class DeviceImplementation {
  public:
    explicit DeviceImplementation(const EmulatedDeviceSettings& wanted) : settings(wanted) {}

    simt::Emulator emulator;
    const EmulatedDeviceSettings settings;
    int64_t allocations = 0;
    std::shared_ptr<int64_t> lent = std::make_shared<int64_t>(0);  // memory may outlive the device
};

namespace {

constexpr int64_t kAlignment = 256;

class EmulatedGraph final : public DeviceGraph {
  public:
    explicit EmulatedGraph(simt::Recording recording) : recording_(std::move(recording)) {}
    int64_t launches() const override { return static_cast<int64_t>(recording_.size()); }
    const simt::Recording& recording() const { return recording_; }

  private:
    simt::Recording recording_;
};

class EmulatedTimer final : public DeviceTimer {
  public:
    Result<void> start() override {
        start_ = std::chrono::steady_clock::now();
        return {};
    }
    Result<void> stop() override {
        stop_ = std::chrono::steady_clock::now();
        return {};
    }
    Result<double> milliseconds() override { return std::chrono::duration<double, std::milli>(stop_ - start_).count(); }

  private:
    std::chrono::steady_clock::time_point start_, stop_;
};

}  // namespace

simt::Stream cuda::stream_of(Device& device) { return &device.implementation().emulator; }

Device::Device(std::unique_ptr<DeviceImplementation> implementation) : implementation_(std::move(implementation)) {}
Device::~Device() = default;

std::unique_ptr<Device> open_emulated_device(const EmulatedDeviceSettings& settings) {
    return std::make_unique<Device>(std::make_unique<DeviceImplementation>(settings));
}
int64_t emulated_allocations(Device& device) { return device.implementation().allocations; }
int64_t emulated_bytes(Device& device) { return *device.implementation().lent; }

Result<std::unique_ptr<Device>> Device::open(int index) {
    if (index != 0) return fail("there is no emulated device {}; there is one, number 0", index);
    return open_emulated_device({});
}

Result<DeviceFacts> Device::facts() const {
    return DeviceFacts{.name = "emulation",
                       .compute_capability = 80,
                       .multiprocessors = 1,
                       .total_bytes = implementation_->settings.total_bytes,
                       .free_bytes = implementation_->settings.total_bytes - *implementation_->lent};
}

int64_t Device::allocated_bytes(int64_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

Result<DeviceBytes> Device::allocate(int64_t bytes, std::string_view what) {
    const int64_t taken = allocated_bytes(bytes), number = implementation_->allocations++;
    const std::shared_ptr<int64_t> lent = implementation_->lent;
    const bool fits = *lent + taken <= implementation_->settings.total_bytes;
    // One more than asked for: aligned_alloc() of nothing may be nothing.
    void* const memory = fits && number != implementation_->settings.failing_allocation
                             ? std::aligned_alloc(kAlignment, static_cast<size_t>(taken + kAlignment))
                             : nullptr;
    if (memory == nullptr) {
        return fail("the emulated device has no {} bytes for {}; keep fewer layers on it or ask for a shorter context",
                    bytes, what);
    }
    std::memset(memory, 0xFF, static_cast<size_t>(taken + kAlignment));  // what nobody wrote is a NaN
    *lent += taken;
    return DeviceBytes(static_cast<std::byte*>(memory), [lent, taken](std::byte* place) {
        *lent -= taken;
        std::free(place);
    });
}

Result<void> Device::upload(std::byte* to, const void* from, int64_t bytes) {
    if (implementation_->emulator.recording())
        return fail("nothing can be copied to the device while a pass is recorded");
    std::memcpy(to, from, static_cast<size_t>(bytes));
    return {};
}

Result<void> Device::download(void* to, const std::byte* from, int64_t bytes) {
    TRY(wait());
    std::memcpy(to, from, static_cast<size_t>(bytes));
    return {};
}

Result<void> Device::upload_filled(std::byte* to, int64_t bytes, const FillPiece& fill) {
    constexpr int64_t kPiece = 4096;  // small: tests see many pieces
    std::vector<std::byte> staging(kPiece);
    for (int64_t first = 0; first < bytes; first += kPiece) {
        const std::span<std::byte> piece(staging.data(), static_cast<size_t>(std::min(kPiece, bytes - first)));
        TRY(fill(first, piece));
        TRY(upload(to + first, piece.data(), static_cast<int64_t>(piece.size())));
    }
    return {};
}

Result<std::unique_ptr<DeviceTimer>> Device::make_timer() { return std::make_unique<EmulatedTimer>(); }

Result<void> Device::begin_recording() {
    implementation_->emulator.begin_recording();
    return {};
}

Result<std::unique_ptr<DeviceGraph>> Device::end_recording() {
    return std::make_unique<EmulatedGraph>(implementation_->emulator.end_recording());
}

Result<void> Device::replay(const DeviceGraph& graph) {
    implementation_->emulator.replay(static_cast<const EmulatedGraph&>(graph).recording());
    return {};
}

Result<void> Device::wait() {
    if (implementation_->emulator.recording()) return fail("nothing can be waited for while a pass is recorded");
    const auto& fault = implementation_->emulator.fault();
    if (fault) return fail("{}: {}", fault->kernel, fault->message);
    return {};
}

}  // namespace invar
