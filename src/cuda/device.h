// One device and its memory: opening it, and the bytes it lends, each an owner that gives them back. Errors of the
// machine are sentences; an allocation that fails leaves the device usable. Any thread may call, one at a time, and
// devices may be used in turns. device_cuda.cu is the CUDA device, device_emulated.cpp the emulated one that tests use;
// the header is the same and needs no toolkit.
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
    int64_t taken_bytes = 0;     // of the total, when the device was opened: this program's context and other programs
    int64_t overhead_bytes = 0;  // that loading the kernels took then; free_bytes are without it
    std::string overhead_source;
    std::string driver;  // "driver for CUDA 13.0, runtime 13.0"
    bool emulated = false;
};

// Launches that were recorded: a CUDA graph, or the emulator's list.
class DeviceGraph {
  public:
    virtual ~DeviceGraph() = default;
    virtual int64_t launches() const = 0;
};

// A device pointer and who gives it back. The host must not read through it.
using DeviceBytes = std::shared_ptr<std::byte>;

// Time between two points of the device's work.
class DeviceTimer {
  public:
    virtual ~DeviceTimer() = default;
    virtual Result<void> start() = 0;
    virtual Result<void> stop() = 0;
    virtual Result<double> milliseconds() = 0;  // waits for stop(); the emulated device measures its own time
};

class Device {
  public:
    // No driver, no device, and a device too old (below compute capability 8.0) are one sentence each.
    static Result<std::unique_ptr<Device>> open(int index);
    ~Device();

    Result<DeviceFacts> facts() const;
    // 256-byte aligned. `what` is named in the error: "the KV cache".
    Result<DeviceBytes> allocate(int64_t bytes, std::string_view what);
    // What an allocation of so many bytes takes.
    static int64_t allocated_bytes(int64_t bytes);

    // Copies are ordered with the kernels launched before and after them; download() and read back waits. On return the
    // source of an upload may be reused.
    Result<void> upload(std::byte* to, const void* from, int64_t bytes);
    Result<void> download(void* to, const std::byte* from, int64_t bytes);
    // An upload whose source is made piece by piece in page-locked memory: a piece is copied while the next is filled.
    // fill(first, piece) writes bytes first .. of the whole; its error ends the upload.
    using FillPiece = std::function<Result<void>(int64_t first, std::span<std::byte> piece)>;
    Result<void> upload_filled(std::byte* to, int64_t bytes, const FillPiece& fill);
    Result<std::unique_ptr<DeviceTimer>> make_timer();
    // Between these, launches are recorded with their arguments and not run; copies and waits are errors.
    Result<void> begin_recording();
    Result<std::unique_ptr<DeviceGraph>> end_recording();
    // Runs what was recorded, ordered with copies and launches like a launch.
    Result<void> replay(const DeviceGraph& graph);

    // Between these, every kernel is launched between two events (not those of a replay). Slows down.
    Result<void> begin_timing();
    void mark_kernels(int64_t mark);               // KernelTime::mark of those launched from now on; 0 at first
    Result<std::vector<KernelTime>> end_timing();  // in the order of launches; waits

    // Waits for everything; a kernel that failed is named here or by the next copy.
    Result<void> wait();

    DeviceImplementation& implementation() { return *implementation_; }
    explicit Device(std::unique_ptr<DeviceImplementation> implementation);

  private:
    std::unique_ptr<DeviceImplementation> implementation_;
};

}  // namespace invar
