// The CUDA device: calls of the runtime, each checked, and its handles, each with an owner. See device.h.
#if defined(__CUDACC__)

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "cuda/device_implementation.h"
#include "cuda/device_support.h"
#include "cuda/kernel_loading.h"

namespace invar {
namespace {

// Turns a runtime error into a sentence.
Result<void> checked(cudaError_t error, std::string_view doing) {
    if (error == cudaSuccess) return {};
    return fail(ErrorKind::device_lost, "the CUDA device failed while {}: {} ({})", doing, cudaGetErrorString(error),
                cudaGetErrorName(error));
}

// The runtime has a current device for each thread; asking for it reads one word of thread-local memory.
Result<void> make_device_current(int index) {
    int current = -1;
    TRY(checked(cudaGetDevice(&current), "the current device was asked for"));
    if (current == index) return {};
    return checked(cudaSetDevice(index), "it was made current");
}

Result<int64_t> free_memory() {
    size_t free = 0, total = 0;
    TRY(checked(cudaMemGetInfo(&free, &total), "its memory was measured"));
    return static_cast<int64_t>(free);
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

// The page-locked memory that pieces of an upload pass through. Two pieces take turns.
class Staging {
  public:
    static constexpr int64_t kPiece = int64_t{32} << 20;

    ~Staging() {
        for (Slot& slot : slots_) {
            // A copy may still read it if the one that should have followed failed.
            if (slot.copied != nullptr) cudaEventSynchronize(slot.copied);
            if (slot.copied != nullptr) cudaEventDestroy(slot.copied);
            if (slot.memory != nullptr) cudaFreeHost(slot.memory);
        }
    }
    // Returns a piece that no copy reads any more.
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
    CudaTimer(int index, cudaStream_t stream) : index_(index), stream_(stream) {}
    ~CudaTimer() override {
        for (cudaEvent_t event : events_)
            if (event != nullptr) cudaEventDestroy(event);
    }
    Result<void> make() {
        for (cudaEvent_t& event : events_) TRY(checked(cudaEventCreate(&event), "making an event"));
        return {};
    }
    Result<void> start() override { return record(events_[0]); }
    Result<void> stop() override { return record(events_[1]); }
    Result<double> milliseconds() override {
        float time = 0;
        TRY(make_device_current(index_));
        TRY(checked(cudaEventSynchronize(events_[1]), "timing"));
        TRY(checked(cudaEventElapsedTime(&time, events_[0], events_[1]), "timing"));
        return static_cast<double>(time);
    }

  private:
    Result<void> record(cudaEvent_t event) {
        TRY(make_device_current(index_));
        return checked(cudaEventRecord(event, stream_), "timing");
    }

    const int index_;
    const cudaStream_t stream_;
    cudaEvent_t events_[2] = {};
};

// Runs each kernel between two events.
class KernelTimer final : public LaunchObserver {
  public:
    KernelTimer(cudaStream_t stream, const int64_t& mark) : stream_(stream), mark_(mark) {}
    ~KernelTimer() override {
        for (const Launch& launch : launches_)
            for (cudaEvent_t event : launch.events)
                if (event != nullptr) cudaEventDestroy(event);
    }
    void before(const char* kernel) override {
        Launch& launch = launches_.emplace_back(Launch{.kernel = kernel, .mark = mark_});
        for (cudaEvent_t& event : launch.events) keep(cudaEventCreate(&event));
        keep(cudaEventRecord(launch.events[0], stream_));
    }
    void after() override { keep(cudaEventRecord(launches_.back().events[1], stream_)); }

    Result<std::vector<KernelTime>> times() const {
        TRY(checked(error_, "timing kernels"));
        std::vector<KernelTime> times;
        for (const Launch& launch : launches_) {
            float time = 0;
            TRY(checked(cudaEventElapsedTime(&time, launch.events[0], launch.events[1]), "timing kernels"));
            times.push_back({.kernel = launch.kernel, .mark = launch.mark, .milliseconds = time});
        }
        return times;
    }

  private:
    struct Launch {
        const char* kernel = "";
        int64_t mark = 0;
        cudaEvent_t events[2] = {};
    };
    void keep(cudaError_t error) {
        if (error_ == cudaSuccess) error_ = error;
    }

    const cudaStream_t stream_;
    const int64_t& mark_;
    std::vector<Launch> launches_;
    cudaError_t error_ = cudaSuccess;
};

class CudaDevice final : public DeviceImplementation {
  public:
    explicit CudaDevice(int index) : index_(index) {}
    ~CudaDevice() override {
        (void)make_device_current(index_);
        timer_.reset();
        if (stream_ != nullptr) cudaStreamDestroy(stream_);
    }
    // Making the stream makes the context, and then the kernels are loaded; the free memory shows what each takes.
    Result<void> start() {
        TRY(make_current());
        TRY(checked(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "making a stream"));
        TRY_ASSIGN(opened_, free_memory());
        TRY_ASSIGN(kernels_loaded_, cuda::load_every_kernel());
        TRY_ASSIGN(loaded_, free_memory());
        return {};
    }

    Result<void> make_current() override { return make_device_current(index_); }
    simt::Stream stream() override { return {.handle = stream_, .observer = timer_.get()}; }

    Result<DeviceFacts> facts() override;
    Result<DeviceBytes> allocate(int64_t bytes, std::string_view what) override;
    Result<void> upload(std::byte* to, const void* from, int64_t bytes) override {
        return checked(cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), cudaMemcpyHostToDevice, stream_),
                       "copying to it");
    }
    Result<void> download(void* to, const std::byte* from, int64_t bytes) override {
        return checked(cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), cudaMemcpyDeviceToHost, stream_),
                       "copying from it");
    }
    Result<void> upload_filled(std::byte* to, int64_t bytes, const Device::FillPiece& fill) override;
    Result<std::unique_ptr<DeviceTimer>> make_timer() override {
        auto timer = std::make_unique<CudaTimer>(index_, stream_);
        TRY(timer->make());
        return timer;
    }
    Result<void> begin_recording() override {
        return checked(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal), "a pass was recorded");
    }
    Result<std::unique_ptr<DeviceGraph>> end_recording() override;
    Result<void> replay(const DeviceGraph& graph) override {
        return checked(cudaGraphLaunch(static_cast<const CudaGraph&>(graph).graph(), stream_),
                       "a recorded pass was launched");
    }
    Result<void> begin_timing() override {
        timer_ = std::make_unique<KernelTimer>(stream_, mark);
        return {};
    }
    Result<std::vector<KernelTime>> end_timing() override {
        const std::unique_ptr<KernelTimer> timer = std::move(timer_);
        TRY(wait());
        if (timer == nullptr) return std::vector<KernelTime>();
        return timer->times();
    }
    Result<void> wait() override {
        TRY(checked(cudaGetLastError(), "launching a kernel"));
        return checked(cudaStreamSynchronize(stream_), "running kernels");
    }

  private:
    const int index_;
    cudaStream_t stream_ = nullptr;
    int64_t opened_ = 0, loaded_ = 0;  // bytes that were free
    bool kernels_loaded_ = false;
    std::unique_ptr<KernelTimer> timer_;
};

Result<DeviceFacts> CudaDevice::facts() {
    cudaDeviceProp properties{};
    TRY(checked(cudaGetDeviceProperties(&properties, index_), "its properties were read"));
    size_t free = 0, total = 0;
    TRY(checked(cudaMemGetInfo(&free, &total), "its memory was measured"));
    int driver = 0;
    TRY(checked(cudaDriverGetVersion(&driver), "the driver's version was read"));
    return DeviceFacts{
        .name = properties.name,
        .compute_capability = 10 * properties.major + properties.minor,
        .multiprocessors = properties.multiProcessorCount,
        .total_bytes = static_cast<int64_t>(total),
        .free_bytes = static_cast<int64_t>(free),
        .taken_bytes = static_cast<int64_t>(total) - opened_,
        .overhead_bytes = std::max<int64_t>(0, opened_ - loaded_),
        .overhead_source = kernels_loaded_
                               ? "kernels; free memory before and after they were loaded, on this device now"
                               : "not measured: this driver loads kernels with their first launch only",
        .driver = fmt::format("driver for CUDA {}, runtime {}", cuda_version_text(driver),
                              cuda_version_text(CUDART_VERSION))};
}

Result<DeviceBytes> CudaDevice::allocate(int64_t bytes, std::string_view what) {
    void* memory = nullptr;
    const cudaError_t error = cudaMalloc(&memory, static_cast<size_t>(bytes));
    if (error == cudaErrorMemoryAllocation) {
        cudaGetLastError();  // clears the error: a failed allocation leaves the device usable
        return fail(ErrorKind::out_of_memory,
                    "the CUDA device has no {} bytes for {}; keep fewer layers on it or ask for a shorter context",
                    bytes, what);
    }
    TRY(checked(error, fmt::format("allocating {}", what)));
    return DeviceBytes(static_cast<std::byte*>(memory), [index = index_](std::byte* place) {
        (void)make_device_current(index);
        cudaFree(place);
    });
}

Result<void> CudaDevice::upload_filled(std::byte* to, int64_t bytes, const Device::FillPiece& fill) {
    Staging staging;  // page-locked only as long as it is used
    for (int64_t first = 0; first < bytes; first += Staging::kPiece) {
        const int64_t size = std::min(Staging::kPiece, bytes - first);
        TRY_ASSIGN(std::byte* const piece, staging.next());
        TRY(fill(first, std::span(piece, static_cast<size_t>(size))));
        TRY(make_current());  // filling may have used another device
        TRY(staging.send(to + first, size, stream_));
    }
    return {};
}

Result<std::unique_ptr<DeviceGraph>> CudaDevice::end_recording() {
    cudaGraph_t recorded = nullptr;
    cudaGraphExec_t graph = nullptr;
    TRY(checked(cudaStreamEndCapture(stream_, &recorded), "a pass was recorded"));
    size_t launches = 0;
    cudaError_t error = cudaGraphGetNodes(recorded, nullptr, &launches);
    if (error == cudaSuccess) error = cudaGraphInstantiate(&graph, recorded, 0);
    cudaGraphDestroy(recorded);
    TRY(checked(error, "a recorded pass was made ready"));
    return std::make_unique<CudaGraph>(graph, static_cast<int64_t>(launches));
}

Result<std::unique_ptr<Device>> Device::open(int index) {
    int count = 0;
    const cudaError_t error = cudaGetDeviceCount(&count);
    if (error == cudaErrorInsufficientDriver) {
        // The runtime gives the same error on a machine without any driver; then the driver's version is 0.
        int version = 0;
        if (cudaDriverGetVersion(&version) != cudaSuccess) version = 0;
        return refuse_driver(version, CUDART_VERSION);
    }
    if (error != cudaErrorNoDevice) {
        TRY(checked(error, "the devices were counted"));
    }
    TRY(check_device_index(index, error == cudaErrorNoDevice ? 0 : count));
    cudaDeviceProp properties{};
    TRY(checked(cudaGetDeviceProperties(&properties, index), "its properties were read"));
    TRY(check_capability(index, properties.name, 10 * properties.major + properties.minor));
    auto implementation = std::make_unique<CudaDevice>(index);
    TRY(implementation->start());
    return std::make_unique<Device>(std::move(implementation));
}

int64_t Device::allocated_bytes(int64_t bytes) {
    // Small allocations share blocks of this size.
    constexpr int64_t kBlock = int64_t{2} << 20;
    return (bytes + kBlock - 1) / kBlock * kBlock;
}

}  // namespace invar

#endif
