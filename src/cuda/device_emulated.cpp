// The emulated device: host memory that only kernels may touch, and the emulator as its stream. A fault that the
// emulator finds is the error of the next wait. See device.h.
#include <cstdlib>
#include <cstring>

#include "cuda/device_stream.cuh"

namespace invar {

class DeviceImplementation {
  public:
    simt::Emulator emulator;
};

simt::Stream cuda::stream_of(Device& device) { return &device.implementation().emulator; }

Device::Device(std::unique_ptr<DeviceImplementation> implementation) : implementation_(std::move(implementation)) {}
Device::~Device() = default;

Result<std::unique_ptr<Device>> Device::open(int index) {
    if (index != 0) return fail("there is no emulated device {}; there is one, number 0", index);
    return std::unique_ptr<Device>(new Device(std::make_unique<DeviceImplementation>()));
}

Result<DeviceFacts> Device::facts() const {
    return DeviceFacts{
        .name = "emulation", .compute_capability = 80, .multiprocessors = 1, .total_bytes = 0, .free_bytes = 0};
}

Result<DeviceBytes> Device::allocate(int64_t bytes, std::string_view what) {
    constexpr size_t kAlignment = 256;
    const size_t rounded = (static_cast<size_t>(bytes) / kAlignment + 1) * kAlignment;
    auto* memory = static_cast<std::byte*>(std::aligned_alloc(kAlignment, rounded));
    if (memory == nullptr) return fail("no {} bytes of host memory for {} of the emulated device", bytes, what);
    std::memset(memory, 0xFF, rounded);  // what nobody wrote is a NaN
    return DeviceBytes(memory, [](std::byte* place) { std::free(place); });
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
