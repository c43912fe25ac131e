// How what `invar bench` measured on a device is shown: what the device is, and each pass taken apart. An emulated one
// says so before any figure.
#pragma once

#include <string>
#include <vector>

#include "base/json_fwd.h"
#include "bench/device_step.h"

namespace invar::app {

struct DeviceReport {
    AcceleratorFacts facts;       // with the model loaded
    bool does_everything = true;  // else no one machine's ceilings are those of a pass, and shares are left out
    std::vector<DeviceStep> steps;
};

std::string device_as_text(const DeviceReport& device);
Json device_as_json(const DeviceReport& device);

// `ceilings`: medians around the runs.
std::string steps_as_table(const DeviceReport& device, const Ceilings& ceilings);
Json steps_as_json(const DeviceReport& device, const Ceilings& ceilings);

}  // namespace invar::app
