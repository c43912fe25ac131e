// The CUDA device: the runtime's calls, each checked, and its handles inside owners. See device.h.
#if defined(__CUDACC__)

#include <fmt/format.h>

#include <algorithm>

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

class CudaGraph final : public DeviceGraph {
  public:
    CudaGraph(cudaGraphExec_t graph, int64_t launches) : graph_(graph), launches_(launches) {}
    ~CudaGraph() override { cudaGraphExecDestroy(graph_); }
    int64_t launches() const override { return launches_; }
    cudaGraphExec_t graph() const { return graph_; }

  private:
    cudaGraphExec_t graph_;
    int64_t launches_;
};

// Page-locked memory that pieces of an upload pass through, two in turn.
class Staging {
  public:
    static constexpr int64_t kPiece = int64_t{32} << 20;

    ~Staging() {
        for (Slot& slot : slots_) {
            if (slot.copied != nullptr) cudaEventDestroy(slot.copied);
            if (slot.memory != nullptr) cudaFreeHost(slot.memory);
        }
    }
    // A piece that no copy reads any more.
    Result<std::byte*> next() {
        Slot& slot = slots_[turn_];
        if (slot.memory == nullptr) {
            void* memory = nullptr;
            TRY(checked(cudaHostAlloc(&memory, kPiece, cudaHostAllocDefault), "page-locking memory for uploads"));
            slot.memory = static_cast<std::byte*>(memory);
            TRY(checked(cudaEventCreateWithFlags(&slot.copied, cudaEventDisableTiming), "making an event"));
        } else {
            TRY(checked(cudaEventSynchronize(slot.copied), "copying to it"));
        }
        return slot.memory;
    }
    Result<void> send(std::byte* to, int64_t bytes, cudaStream_t stream) {
        Slot& slot = slots_[turn_];
        turn_ = (turn_ + 1) % 2;
        TRY(checked(cudaMemcpyAsync(to, slot.memory, static_cast<size_t>(bytes), cudaMemcpyHostToDevice, stream),
                    "copying to it"));
        return checked(cudaEventRecord(slot.copied, stream), "copying to it");
    }

  private:
    struct Slot {
        std::byte* memory = nullptr;
        cudaEvent_t copied = nullptr;
    };
    Slot slots_[2];
    int turn_ = 0;
};

class CudaTimer final : public DeviceTimer {
  public:
    explicit CudaTimer(cudaStream_t stream) : stream_(stream) {}
    ~CudaTimer() override {
        for (cudaEvent_t event : events_)
            if (event != nullptr) cudaEventDestroy(event);
    }
    Result<void> make() {
        for (cudaEvent_t& event : events_) TRY(checked(cudaEventCreate(&event), "making an event"));
        return {};
    }
    Result<void> start() override { return checked(cudaEventRecord(events_[0], stream_), "timing"); }
    Result<void> stop() override { return checked(cudaEventRecord(events_[1], stream_), "timing"); }
    Result<double> milliseconds() override {
        float time = 0;
        TRY(checked(cudaEventSynchronize(events_[1]), "timing"));
        TRY(checked(cudaEventElapsedTime(&time, events_[0], events_[1]), "timing"));
        return static_cast<double>(time);
    }

  private:
    cudaStream_t stream_;
    cudaEvent_t events_[2] = {};
};

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
    bool recording = false;
    Staging staging;

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
    if (implementation_->recording) return fail("nothing can be copied to the device while a pass is recorded");
    return checked(
        cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), cudaMemcpyHostToDevice, implementation_->stream()),
        "copying to it");
}

Result<void> Device::download(void* to, const std::byte* from, int64_t bytes) {
    if (implementation_->recording) return fail("nothing can be copied from the device while a pass is recorded");
    TRY(checked(
        cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), cudaMemcpyDeviceToHost, implementation_->stream()),
        "copying from it"));
    return wait();
}

Result<void> Device::upload_filled(std::byte* to, int64_t bytes, const FillPiece& fill) {
    if (implementation_->recording) return fail("nothing can be copied to the device while a pass is recorded");
    for (int64_t first = 0; first < bytes; first += Staging::kPiece) {
        const int64_t size = std::min(Staging::kPiece, bytes - first);
        TRY_ASSIGN(std::byte* const piece, implementation_->staging.next());
        TRY(fill(first, std::span(piece, static_cast<size_t>(size))));
        TRY(implementation_->staging.send(to + first, size, implementation_->stream()));
    }
    return {};
}

Result<std::unique_ptr<DeviceTimer>> Device::make_timer() {
    auto timer = std::make_unique<CudaTimer>(implementation_->stream());
    TRY(timer->make());
    return timer;
}

Result<void> Device::begin_recording() {
    implementation_->recording = true;
    return checked(cudaStreamBeginCapture(implementation_->stream(), cudaStreamCaptureModeThreadLocal),
                   "a pass was recorded");
}

Result<std::unique_ptr<DeviceGraph>> Device::end_recording() {
    implementation_->recording = false;
    cudaGraph_t recorded = nullptr;
    cudaGraphExec_t graph = nullptr;
    TRY(checked(cudaStreamEndCapture(implementation_->stream(), &recorded), "a pass was recorded"));
    size_t launches = 0;
    cudaError_t error = cudaGraphGetNodes(recorded, nullptr, &launches);
    if (error == cudaSuccess) error = cudaGraphInstantiate(&graph, recorded, 0);
    cudaGraphDestroy(recorded);
    TRY(checked(error, "a recorded pass was made ready"));
    return std::make_unique<CudaGraph>(graph, static_cast<int64_t>(launches));
}

Result<void> Device::replay(const DeviceGraph& graph) {
    return checked(cudaGraphLaunch(static_cast<const CudaGraph&>(graph).graph(), implementation_->stream()),
                   "a recorded pass was launched");
}

Result<void> Device::wait() {
    TRY(checked(cudaGetLastError(), "launching a kernel"));
    return checked(cudaStreamSynchronize(implementation_->stream()), "running kernels");
}

}  // namespace invar

#endif
