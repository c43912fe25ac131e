// The emulated device: host memory that only kernels may touch, and the emulator as its stream. A fault that the
// emulator finds is the error of the next wait. See device.h.
#include <cstdlib>
#include <cstring>

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
    std::memcpy(to, from, static_cast<size_t>(bytes));
    return {};
}

Result<void> Device::download(void* to, const std::byte* from, int64_t bytes) {
    TRY(wait());
    std::memcpy(to, from, static_cast<size_t>(bytes));
    return {};
}

Result<void> Device::wait() {
    const auto& fault = implementation_->emulator.fault();
    if (fault) return fail("{}: {}", fault->kernel, fault->message);
    return {};
}

}  // namespace invar
