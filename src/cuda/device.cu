// The CUDA device: the runtime's calls, each checked, and its handles inside owners. See device.h.
#if defined(__CUDACC__)

#include <fmt/format.h>

#include "cuda/device_stream.cuh"

namespace invar {
namespace {

constexpr int kLeastCapability = 80;  // cp.async and int8 tensor cores of m16n8k32

// 0 or the error's sentence.
Result<void> checked(cudaError_t error, std::string_view doing) {
    if (error == cudaSuccess) return {};
    return fail("the CUDA device failed while {}: {} ({})", doing, cudaGetErrorString(error), cudaGetErrorName(error));
}

}  // namespace

class DeviceImplementation {
  public:
    explicit DeviceImplementation(int index) : index_(index) {}
    ~DeviceImplementation() {
        if (stream_ != nullptr) cudaStreamDestroy(stream_);
    }
    Result<void> start() {
        TRY(checked(cudaSetDevice(index_), "it was chosen"));
        return checked(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "making a stream");
    }
    int index() const { return index_; }
    cudaStream_t stream() const { return stream_; }

  private:
    int index_ = 0;
    cudaStream_t stream_ = nullptr;
};

simt::Stream cuda::stream_of(Device& device) { return device.implementation().stream(); }

Device::Device(std::unique_ptr<DeviceImplementation> implementation) : implementation_(std::move(implementation)) {}
Device::~Device() = default;

Result<std::unique_ptr<Device>> Device::open(int index) {
    int count = 0;
    const cudaError_t error = cudaGetDeviceCount(&count);
    if (error == cudaErrorInsufficientDriver) {
        // That is also what a machine without any driver says; its version is 0.
        int version = 0;
        if (cudaDriverGetVersion(&version) != cudaSuccess || version == 0)
            return fail("this machine has no NVIDIA driver; install one or use --device cpu");
        return fail(
            "the NVIDIA driver supports CUDA {}.{}, which is older than this program's CUDA {}; update it or use "
            "--device cpu",
            version / 1000, version % 1000 / 10, CUDART_VERSION / 1000);
    }
    if (error == cudaErrorNoDevice || (error == cudaSuccess && count == 0))
        return fail("this machine has no CUDA device; use --device cpu");
    TRY(checked(error, "the devices were counted"));
    if (index < 0 || index >= count)
        return fail("there is no CUDA device {}; this machine has {}, numbered from 0", index, count);
    cudaDeviceProp properties{};
    TRY(checked(cudaGetDeviceProperties(&properties, index), "its properties were read"));
    const int capability = 10 * properties.major + properties.minor;
    if (capability < kLeastCapability)
        return fail("CUDA device {} ({}) has compute capability {}.{}, but at least 8.0 is needed; use --device cpu",
                    index, properties.name, properties.major, properties.minor);
    auto implementation = std::make_unique<DeviceImplementation>(index);
    TRY(implementation->start());
    return std::unique_ptr<Device>(new Device(std::move(implementation)));
}

Result<DeviceFacts> Device::facts() const {
    cudaDeviceProp properties{};
    TRY(checked(cudaGetDeviceProperties(&properties, implementation_->index()), "its properties were read"));
    size_t free = 0, total = 0;
    TRY(checked(cudaMemGetInfo(&free, &total), "its memory was measured"));
    return DeviceFacts{.name = properties.name,
                       .compute_capability = 10 * properties.major + properties.minor,
                       .multiprocessors = properties.multiProcessorCount,
                       .total_bytes = static_cast<int64_t>(total),
                       .free_bytes = static_cast<int64_t>(free)};
}

Result<DeviceBytes> Device::allocate(int64_t bytes, std::string_view what) {
    void* memory = nullptr;
    const cudaError_t error = cudaMalloc(&memory, static_cast<size_t>(bytes));
    if (error == cudaErrorMemoryAllocation) {
        cudaGetLastError();  // an allocation that failed leaves the device usable
        return fail("the CUDA device has no {} bytes for {}; keep fewer layers on it or ask for a shorter context",
                    bytes, what);
    }
    TRY(checked(error, fmt::format("allocating {}", what)));
    return DeviceBytes(static_cast<std::byte*>(memory), [](std::byte* place) { cudaFree(place); });
}

int64_t Device::allocated_bytes(int64_t bytes) {
    // Small allocations share blocks of this size.
    constexpr int64_t kBlock = int64_t{2} << 20;
    return (bytes + kBlock - 1) / kBlock * kBlock;
}

Result<void> Device::upload(std::byte* to, const void* from, int64_t bytes) {
    return checked(
        cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), cudaMemcpyHostToDevice, implementation_->stream()),
        "copying to it");
}

Result<void> Device::download(void* to, const std::byte* from, int64_t bytes) {
    TRY(checked(
        cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), cudaMemcpyDeviceToHost, implementation_->stream()),
        "copying from it"));
    return wait();
}

Result<void> Device::wait() {
    TRY(checked(cudaGetLastError(), "launching a kernel"));
    return checked(cudaStreamSynchronize(implementation_->stream()), "running kernels");
}

}  // namespace invar

#endif
