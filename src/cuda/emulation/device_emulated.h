// The part of the emulated device that only tests use: how much memory it has, and an allocation that fails.
#pragma once

#include <limits>

#include "cuda/device.h"

namespace invar {

struct EmulatedDeviceSettings {
    int index = 0;
    int64_t total_bytes = int64_t{4} << 30;
    int64_t taken_bytes = 0, overhead_bytes = 0;                       // as in DeviceFacts
    int64_t failing_allocation = std::numeric_limits<int64_t>::max();  // index, from 0, of the one that fails
};
std::unique_ptr<Device> open_emulated_device(const EmulatedDeviceSettings& settings);
// The number of a device's allocations so far, failed ones included, and the bytes in use now.
int64_t emulated_allocations(Device& device);
int64_t emulated_bytes(Device& device);

}  // namespace invar
