// The stream on which a device's kernels are launched. For device sources only.
#pragma once

#include "cuda/device.h"
#include "cuda/simt.h"

namespace invar::cuda {

simt::Stream stream_of(Device& device);

}  // namespace invar::cuda
