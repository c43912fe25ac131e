// What a device can do at most, measured with kernels that do nothing else: what speeds are stated as shares of.
#pragma once

#include <cstdint>

#include "cuda/device.h"

namespace invar {

struct DeviceProbe {
    double copied_bytes = 0;       // read plus written
    double multiply_adds = 0;      // of int8 tensor cores
    double copy_milliseconds = 0;  // of the best of the runs
    double int8_milliseconds = 0;

    double bytes_per_second() const { return copied_bytes / copy_milliseconds * 1e3; }
    double multiply_adds_per_second() const { return multiply_adds / int8_milliseconds * 1e3; }
};

struct ProbeSettings {
    int64_t copy_bytes = int64_t{1} << 30;  // of the source, a multiple of 16; as much again for its copy
    int rounds = 4096;                      // of 8 tensor-core products a warp
    int runs = 5;
};

// Errors: no memory for the copy, a device that failed, and a result of a probe that is wrong.
Result<DeviceProbe> probe_device(Device& device, const ProbeSettings& settings);

}  // namespace invar
