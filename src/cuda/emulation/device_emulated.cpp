// The emulated device: host memory that only kernels may touch, and the emulator as its stream. A fault that the
// emulator finds is the error of the next wait. See device.h.
#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "cuda/device_implementation.h"
#include "cuda/emulation/device_emulated.h"

namespace invar {

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

// Reports kernels with the time that the emulating CPU took.
class EmulatedKernelTimer final : public LaunchObserver {
  public:
    explicit EmulatedKernelTimer(const int64_t& mark) : mark_(mark) {}
    void before(const char* kernel) override {
        times_.push_back({.kernel = kernel, .mark = mark_, .milliseconds = 0});
        start_ = std::chrono::steady_clock::now();
    }
    void after() override {
        const auto now = std::chrono::steady_clock::now();
        times_.back().milliseconds = std::chrono::duration<double, std::milli>(now - start_).count();
    }
    std::vector<KernelTime> times() const { return times_; }

  private:
    const int64_t& mark_;
    std::chrono::steady_clock::time_point start_;
    std::vector<KernelTime> times_;
};

constexpr int kEmulatedDevices = 2;

class EmulatedDevice final : public DeviceImplementation {
  public:
    explicit EmulatedDevice(const EmulatedDeviceSettings& wanted) : settings(wanted) {}
    ~EmulatedDevice() override {
        if (current() == this) current() = nullptr;
    }

    Result<void> make_current() override {
        current() = this;
        return {};
    }
    Result<DeviceFacts> facts() override;
    Result<DeviceBytes> allocate(int64_t bytes, std::string_view what) override;
    Result<void> upload(std::byte* to, const void* from, int64_t bytes) override {
        TRY(check_current());
        std::memcpy(to, from, static_cast<size_t>(bytes));
        return {};
    }
    Result<void> download(void* to, const std::byte* from, int64_t bytes) override {
        TRY(wait());
        std::memcpy(to, from, static_cast<size_t>(bytes));
        return {};
    }
    Result<void> upload_filled(std::byte* to, int64_t bytes, const Device::FillPiece& fill) override;
    Result<std::unique_ptr<DeviceTimer>> make_timer() override { return std::make_unique<EmulatedTimer>(); }
    Result<void> begin_recording() override {
        TRY(check_current());
        emulator.begin_recording();
        return {};
    }
    Result<std::unique_ptr<DeviceGraph>> end_recording() override {
        TRY(check_current());
        return std::make_unique<EmulatedGraph>(emulator.end_recording());
    }
    Result<void> replay(const DeviceGraph& graph) override {
        TRY(check_current());
        emulator.replay(static_cast<const EmulatedGraph&>(graph).recording());
        return {};
    }
    Result<void> begin_timing() override {
        timer_ = std::make_unique<EmulatedKernelTimer>(mark);
        emulator.observe(timer_.get());
        return {};
    }
    Result<std::vector<KernelTime>> end_timing() override {
        const std::unique_ptr<EmulatedKernelTimer> timer = std::move(timer_);
        emulator.observe(nullptr);
        TRY(wait());
        return timer == nullptr ? std::vector<KernelTime>() : timer->times();
    }
    Result<void> wait() override {
        TRY(check_current());
        const auto& fault = emulator.fault();
        if (fault) return fail(ErrorKind::device_lost, "{}: {}", fault->kernel, fault->message);
        return {};
    }
    simt::Stream stream() override {
        Result<void> right = check_current();
        if (!right && failed) failed = std::move(right);
        return &emulator;
    }

    simt::Emulator emulator;
    const EmulatedDeviceSettings settings;
    int64_t allocations = 0;
    std::shared_ptr<int64_t> lent = std::make_shared<int64_t>(0);  // memory may outlive the device

  private:
    // As in CUDA, each thread has a current device, and calls are for that one.
    static const EmulatedDevice*& current() {
        static thread_local const EmulatedDevice* device = nullptr;
        return device;
    }
    Result<void> check_current() const {
        if (current() == this) return {};
        return fail(ErrorKind::internal, "emulated device {} was called while another is the thread's current one",
                    settings.index);
    }

    std::unique_ptr<EmulatedKernelTimer> timer_;
};

EmulatedDevice& emulated(Device& device) { return static_cast<EmulatedDevice&>(device.implementation()); }

Result<DeviceFacts> EmulatedDevice::facts() {
    TRY(check_current());
    const int64_t before = settings.taken_bytes + settings.overhead_bytes;
    return DeviceFacts{.name = "emulation",
                       .compute_capability = 80,
                       .multiprocessors = 1,
                       .total_bytes = settings.total_bytes,
                       .free_bytes = settings.total_bytes - before - *lent,
                       .taken_bytes = settings.taken_bytes,
                       .overhead_bytes = settings.overhead_bytes,
                       .overhead_source = "kernels; invented, because the device is emulated",
                       .driver = "emulated on the CPU, no driver",
                       .emulated = true};
}

Result<DeviceBytes> EmulatedDevice::allocate(int64_t bytes, std::string_view what) {
    TRY(check_current());
    const int64_t taken = Device::allocated_bytes(bytes), number = allocations++;
    const int64_t room = settings.total_bytes - settings.taken_bytes - settings.overhead_bytes;
    // One alignment more than asked for: aligned_alloc() of 0 bytes may return null.
    void* const memory = *lent + taken <= room && number != settings.failing_allocation
                             ? std::aligned_alloc(kAlignment, static_cast<size_t>(taken + kAlignment))
                             : nullptr;
    if (memory == nullptr) {
        return fail(ErrorKind::out_of_memory,
                    "the emulated device has no {} bytes for {}; keep fewer layers on it or ask for a shorter context",
                    bytes, what);
    }
    std::memset(memory, 0xFF, static_cast<size_t>(taken + kAlignment));  // unwritten memory reads as NaN
    *lent += taken;
    return DeviceBytes(static_cast<std::byte*>(memory), [count = lent, taken](std::byte* place) {
        *count -= taken;
        std::free(place);
    });
}

Result<void> EmulatedDevice::upload_filled(std::byte* to, int64_t bytes, const Device::FillPiece& fill) {
    constexpr int64_t kPiece = 4096;  // small, so that tests see many pieces
    std::vector<std::byte> staging(kPiece);
    for (int64_t first = 0; first < bytes; first += kPiece) {
        const std::span<std::byte> piece(staging.data(), static_cast<size_t>(std::min(kPiece, bytes - first)));
        TRY(fill(first, piece));
        TRY(make_current());
        TRY(upload(to + first, piece.data(), static_cast<int64_t>(piece.size())));
    }
    return {};
}

}  // namespace

std::unique_ptr<Device> open_emulated_device(const EmulatedDeviceSettings& settings) {
    return std::make_unique<Device>(std::make_unique<EmulatedDevice>(settings));
}
int64_t emulated_allocations(Device& device) { return emulated(device).allocations; }
int64_t emulated_bytes(Device& device) { return *emulated(device).lent; }

Result<std::unique_ptr<Device>> Device::open(int index) {
    if (index < 0 || index >= kEmulatedDevices)
        return fail(ErrorKind::not_found, "there is no emulated device {}; there are {}, numbered from 0", index,
                    kEmulatedDevices);
    // These numbers are invented, so that plans of the emulated program have these lines.
    return open_emulated_device({.index = index, .taken_bytes = int64_t{64} << 20, .overhead_bytes = int64_t{8} << 20});
}

int64_t Device::allocated_bytes(int64_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

}  // namespace invar
