// The one place in arithmetic/ that knows about device code. A function marked INVAR_DEVICE is compiled for the host
// and, by nvcc, for the device too, so that a kernel evaluates the very lines that define the arithmetic.
#pragma once

#if defined(__CUDACC__)
#define INVAR_DEVICE __host__ __device__
#else
#define INVAR_DEVICE
#endif
