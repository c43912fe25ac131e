// Measures what a device can do at most, with kernels that do nothing else; speeds are stated as shares of this.
#pragma once

#include <cstdint>

#include "cuda/device.h"

namespace invar {

struct DeviceProbe {
    double copied_bytes = 0;       // read plus written
    double read_bytes = 0;         // by a kernel that only reads, like decoding
    double multiply_adds = 0;      // of int8 tensor cores
    double copy_milliseconds = 0;  // of the best run
    double read_milliseconds = 0;
    double int8_milliseconds = 0;

    double copied_bytes_per_second() const { return copied_bytes / copy_milliseconds * 1e3; }
    double read_bytes_per_second() const { return read_bytes / read_milliseconds * 1e3; }
    double multiply_adds_per_second() const { return multiply_adds / int8_milliseconds * 1e3; }
};

struct ProbeSettings {
    int64_t copy_bytes = int64_t{512} << 20;  // size of the source, a multiple of 16; the copy takes as much again
    int rounds = 256;                         // of 8 tensor-core products per warp
    int runs = 3;
};
inline constexpr const char* kInt8ProbeInstruction = "mma.sync m16n8k32 s8";

class DeviceProbes {
  public:
    // Takes the memory and writes the data to copy and read. `device` must outlive it. Errors: no memory, a device that
    // failed.
    static Result<DeviceProbes> create(Device& device, const ProbeSettings& settings);
    // Errors: a device that failed, or a wrong result of a probe.
    Result<DeviceProbe> measure();

  private:
    DeviceProbes(Device& device, const ProbeSettings& settings) : device_(&device), settings_(settings) {}
    Result<void> check_results();

    Device* device_;
    ProbeSettings settings_;
    int blocks_ = 0;
    DeviceBytes from_, to_, read_sums_, int8_sums_;
};

}  // namespace invar
