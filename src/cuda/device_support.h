// What a device needs to be usable, and the error sentences: no driver, one too old, no such device, too old a device.
// These are pure functions of the runtime's answers (device_cuda.cu), so that tests need no device.
#pragma once

#include <string>

#include "base/result.h"

namespace invar {

// Kernels use cp.async and int8 tensor cores of m16n8k32, which came with Ampere.
inline constexpr int kLeastCapability = 80;

// Versions as CUDA numbers them: 13020 is 13.2. A driver of version 0 means that there is none.
std::string cuda_version_text(int version);
// For a runtime that found no driver it can work with.
tl::unexpected<Error> refuse_driver(int driver_version, int runtime_version);
Result<void> check_device_index(int index, int count);
Result<void> check_capability(int index, const std::string& name, int capability);  // 90: 9.0

}  // namespace invar
