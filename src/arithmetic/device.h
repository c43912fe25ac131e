// The one place that knows about device code: a function marked INVAR_DEVICE is compiled for the host and, by nvcc, for
// the device as well, so that a kernel evaluates the very lines that define the arithmetic. It decides nothing else.
#pragma once

#if defined(__CUDACC__)
#define INVAR_DEVICE __host__ __device__
#else
#define INVAR_DEVICE
#endif
