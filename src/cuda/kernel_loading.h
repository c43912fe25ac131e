// Loads the code of every kernel at once. Otherwise CUDA loads a kernel at its first launch, so that its memory would
// be taken in the middle of an answer and would be in no plan.
#pragma once

#include "base/result.h"

namespace invar::cuda {

// Loads them on the current device. Returns false if this driver cannot do it.
Result<bool> load_every_kernel();

// One kernel of each source that has kernels: the runtime finds the others by it. Those of products come from their
// table (products.cuh).
const void* kernel_of_verbs();        // cuda_ops.cu
const void* kernel_of_elements();     // cuda_ops_elements.cu
const void* kernel_of_recurrences();  // cuda_ops_recurrences.cu
const void* kernel_of_positions();    // cuda_ops_positions.cu
const void* kernel_of_grouping();     // cuda_ops_linear.cu
const void* kernel_of_sampling();     // cuda_ops_sampling.cu
const void* kernel_of_decode();       // linear_decode.cu
const void* kernel_of_tiles();        // linear_tiles.cu
const void* kernel_of_float_tiles();  // linear_float_tiles.cu
const void* kernel_of_probes();       // probes.cu

}  // namespace invar::cuda
