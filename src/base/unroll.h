// Fully unrolls the small constant loops inside kernels. Without it, an array of accumulators that a loop variable
// indexes lies in memory instead of registers. It is a macro because the two compilers spell the pragma differently.
#pragma once

#ifdef __clang__
#define INVAR_UNROLL _Pragma("clang loop unroll(full)")
#else
#define INVAR_UNROLL _Pragma("GCC unroll 16")
#endif
