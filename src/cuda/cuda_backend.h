// CUDA as an accelerator of the engine (ops/accelerator.h). A program that links invar_cuda opens devices with this;
// one that links invar_cuda_emulated opens the emulation, under the same names.
#pragma once

#include "ops/accelerator.h"

namespace invar {

class Device;

// For OpenAccelerator. The errors are those of Device::open (device.h).
Result<std::shared_ptr<Accelerator>> open_cuda(int index);
// Makes an accelerator of a device that is open already.
std::shared_ptr<Accelerator> make_cuda_accelerator(std::unique_ptr<Device> device, int index);

}  // namespace invar
