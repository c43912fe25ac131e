// One device and its memory: opening it, and the bytes it lends, each freed by its owner. Errors of the machine are
// sentences; a failed allocation leaves the device usable. Any thread may call, one at a time, and devices may be used
// in turns. device_cuda.cu is the CUDA device, device_emulated.cpp the emulated one that tests use; the header is the
// same for both and needs no toolkit.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "ops/accelerator.h"

namespace invar {

class DeviceImplementation;

struct DeviceFacts {
    std::string name;
    int compute_capability = 0;  // 90: 9.0
    int multiprocessors = 0;
    int64_t total_bytes = 0, free_bytes = 0;
    int64_t taken_bytes = 0;     // in use when the device was opened: this program's context and other programs
    int64_t overhead_bytes = 0;  // what loading the kernels took then; free_bytes excludes it
    std::string overhead_source;
    std::string driver;  // "driver for CUDA 13.0, runtime 13.0"
    bool emulated = false;
};

// Recorded launches: a CUDA graph, or the emulator's list.
class DeviceGraph {
  public:
    virtual ~DeviceGraph() = default;
    virtual int64_t launches() const = 0;
};

// A device pointer with its owner. The host must not read through it.
using DeviceBytes = std::shared_ptr<std::byte>;

// Measures the time between two points of the device's work.
class DeviceTimer {
  public:
    virtual ~DeviceTimer() = default;
    virtual Result<void> start() = 0;
    virtual Result<void> stop() = 0;
    virtual Result<double> milliseconds() = 0;  // waits for stop(); the emulated device measures its own time
};

class Device {
  public:
    // Each of these is one sentence: no driver, no device, a device below compute capability 8.0.
    static Result<std::unique_ptr<Device>> open(int index);
    ~Device();

    Result<DeviceFacts> facts() const;
    // 256-byte aligned. The error names `what`, such as "the KV cache".
    Result<DeviceBytes> allocate(int64_t bytes, std::string_view what);
    // Bytes that an allocation of this size takes.
    static int64_t allocated_bytes(int64_t bytes);

    // Copies are ordered with the kernels launched before and after them. download() waits for its result. When
    // upload() returns, its source may be reused.
    Result<void> upload(std::byte* to, const void* from, int64_t bytes);
    Result<void> download(void* to, const std::byte* from, int64_t bytes);
    // Uploads a source that is made piece by piece in page-locked memory: one piece is copied while the next is filled.
    // fill(first, piece) writes the bytes of the whole from `first` on; its error ends the upload.
    using FillPiece = std::function<Result<void>(int64_t first, std::span<std::byte> piece)>;
    Result<void> upload_filled(std::byte* to, int64_t bytes, const FillPiece& fill);
    Result<std::unique_ptr<DeviceTimer>> make_timer();
    // Between begin and end, launches are recorded with their arguments and not run; copies and waits are errors.
    Result<void> begin_recording();
    Result<std::unique_ptr<DeviceGraph>> end_recording();
    // Runs the recorded launches, ordered with copies and launches like a launch.
    Result<void> replay(const DeviceGraph& graph);

    // Between begin and end, every kernel is launched between two events (except in a replay), which slows it down.
    Result<void> begin_timing();
    void mark_kernels(int64_t mark);               // sets KernelTime::mark of later launches; 0 at first
    Result<std::vector<KernelTime>> end_timing();  // in the order of launches; waits

    // Waits for everything. A kernel that failed is named here or by the next copy.
    Result<void> wait();

    DeviceImplementation& implementation() { return *implementation_; }
    explicit Device(std::unique_ptr<DeviceImplementation> implementation);

  private:
    std::unique_ptr<DeviceImplementation> implementation_;
};

}  // namespace invar
