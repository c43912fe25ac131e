// Full unrolling of the small constant loops inside kernels. Without it an array of accumulators indexed by a loop
// variable lies in memory instead of registers. A macro because the two compilers spell the pragma differently.
#pragma once

#ifdef __clang__
#define INVAR_UNROLL _Pragma("clang loop unroll(full)")
#else
#define INVAR_UNROLL _Pragma("GCC unroll 16")
#endif
