// Prints what `invar bench` measured on a device: the device's facts, and each pass taken apart by kernel. For an
// emulated device it says so before any figure.
#pragma once

#include <string>
#include <vector>

#include "base/json_fwd.h"
#include "bench/device_step.h"

namespace invar::app {

struct DeviceReport {
    AcceleratorFacts facts;       // taken with the model loaded
    bool does_everything = true;  // false: the CPU computes a part, so ceilings and shares do not apply
    std::vector<DeviceStep> steps;
};

std::string device_as_text(const DeviceReport& device);
Json device_as_json(const DeviceReport& device);

// `ceilings` are medians of those measured around the runs.
std::string steps_as_table(const DeviceReport& device, const Ceilings& ceilings);
Json steps_as_json(const DeviceReport& device, const Ceilings& ceilings);

}  // namespace invar::app
