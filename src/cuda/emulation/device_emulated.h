// What tests ask of the emulated device beyond device.h: how much memory it has, and an allocation that fails.
#pragma once

#include <limits>

#include "cuda/device.h"

namespace invar {

struct EmulatedDeviceSettings {
    int index = 0;
    int64_t total_bytes = int64_t{4} << 30;
    int64_t taken_bytes = 0, overhead_bytes = 0;                       // as in DeviceFacts
    int64_t failing_allocation = std::numeric_limits<int64_t>::max();  // from 0; that one fails, later ones do not
};
std::unique_ptr<Device> open_emulated_device(const EmulatedDeviceSettings& settings);
// Allocations of a device so far, failed ones included, and bytes that are lent now.
int64_t emulated_allocations(Device& device);
int64_t emulated_bytes(Device& device);

}  // namespace invar
