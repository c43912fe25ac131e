// Loading the code of every kernel at once. CUDA loads a kernel with its first launch otherwise, so that its bytes
// would be missing in the middle of an answer, and in no plan.
#pragma once

#include "base/result.h"

namespace invar::cuda {

// On the current device. false: this driver cannot be asked to.
Result<bool> load_every_kernel();

// A kernel of each source that has some: the runtime finds the others by it. Those of products come from their table
// (products.cuh).
const void* kernel_of_verbs();        // cuda_ops.cu
const void* kernel_of_positions();    // cuda_ops_positions.cu
const void* kernel_of_grouping();     // cuda_ops_linear.cu
const void* kernel_of_sampling();     // cuda_ops_sampling.cu
const void* kernel_of_decode();       // linear_decode.cu
const void* kernel_of_tiles();        // linear_tiles.cu
const void* kernel_of_float_tiles();  // linear_float_tiles.cu
const void* kernel_of_probes();       // probes.cu

}  // namespace invar::cuda
