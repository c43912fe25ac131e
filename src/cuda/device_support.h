// What a device must be to be used, and the sentences of those that are not: no driver, one too old, no such device,
// too little of it. Pure functions of what the runtime told (device_cuda.cu), so that tests read them without a device.
#pragma once

#include <string>

#include "base/result.h"

namespace invar {

// cp.async and int8 tensor cores of m16n8k32: Ampere.
inline constexpr int kLeastCapability = 80;

// Versions as CUDA numbers them: 13020 is 13.2, and a driver of version 0 is none.
std::string cuda_version_text(int version);
// The runtime found no driver that it can work with.
tl::unexpected<Error> refuse_driver(int driver_version, int runtime_version);
Result<void> check_device_index(int index, int count);
Result<void> check_capability(int index, const std::string& name, int capability);  // 90: 9.0

}  // namespace invar
