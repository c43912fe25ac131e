// The interface that each kind of device implements (device_cuda.cu and device_emulated.cpp). Device (device.cu) makes
// the device the thread's current one before each call, so that implementations and users need not care about several
// devices in a thread or several threads at a device. For sources that nvcc or the emulation compiles
// (device_stream.cuh).
#pragma once

#include "cuda/device.h"
#include "cuda/simt.h"

namespace invar {

class DeviceImplementation {
  public:
    virtual ~DeviceImplementation() = default;

    // Makes this device the one that the thread's next calls are for. Cheap if it is already.
    virtual Result<void> make_current() = 0;

    virtual Result<DeviceFacts> facts() = 0;
    virtual Result<DeviceBytes> allocate(int64_t bytes, std::string_view what) = 0;
    virtual Result<void> upload(std::byte* to, const void* from, int64_t bytes) = 0;
    virtual Result<void> download(void* to, const std::byte* from, int64_t bytes) = 0;
    virtual Result<void> upload_filled(std::byte* to, int64_t bytes, const Device::FillPiece& fill) = 0;
    virtual Result<std::unique_ptr<DeviceTimer>> make_timer() = 0;
    virtual Result<void> begin_recording() = 0;
    virtual Result<std::unique_ptr<DeviceGraph>> end_recording() = 0;
    virtual Result<void> replay(const DeviceGraph& graph) = 0;
    virtual Result<void> begin_timing() = 0;
    virtual Result<std::vector<KernelTime>> end_timing() = 0;
    virtual Result<void> wait() = 0;
    virtual simt::Stream stream() = 0;

    // Kept here for every kind of device.
    bool recording = false;
    int64_t mark = 0;     // of kernels that are timed (Device::mark_kernels)
    Result<void> failed;  // the error of a launch, which could not return it
};

}  // namespace invar
