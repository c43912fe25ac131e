// The functions that kernels are written in: blocks, warps, barriers, shuffles, votes, integer dots, tensor-core tiles,
// asynchronous copies, shared and global memory. A kernel's source compiles twice: by nvcc against simt_device.h, where
// each function is an instruction or two, and by any C++ compiler against simt_emulation.h, where each behaves as
// specified and checks how it is used. Nothing here knows what kernels compute. How to write one: docs/gpu.md.
//
// What a kernel may use (namespace invar::simt):
// clang-format off
//   SIMT_KERNEL(threads) name(Args args)   a kernel of blocks of `threads` threads at most
//   SIMT_DEVICE T name(...)                a function of kernels
//   SIMT_UNROLL, SIMT_UNROLL_BY(n)         before a loop: unroll it, n times
//   SIMT_SHARED(T, name, count)            shared memory of the block; SIMT_DYNAMIC_SHARED(name): bytes of the launch
//   Global<T>, Shared<T>                   pointers: p[i], p + i, view<U>(p); a Global<T> may be empty (is_null)
//   thread_index() block_index() block_index_y() block_index_z() block_threads() lane_index() warp_index()
//   sync_block(), sync_warp()              barriers; only they order accesses to shared memory
//   shuffle(v, lane), shuffle_xor(v, m)    over all 32 lanes; *_among(mask, ...) over the lanes of a mask
//   ballot(p), any(p)
//   dot4(w, x, sum)                        4 products of signed bytes; dot4_unsigned: w unsigned, x signed
//   permute(low, high, selector)           PRMT: byte selection
//   mma_s8(sums, a, b, c)                  c + 16 x 8 x 32 of a warp, signed bytes, int32; mma_s8_half: 16 x 8 x 16
//   load_matrix(r, row)                    ldmatrix.x4: four 8 x 16-byte tiles
//   copy_async(to, from), copy_async4, commit_copies(), wait_for_copies<left>()
//   atomic_add(p, v), atomic_min(p, v)     integers only
//   fma, divide, square_root, multiply_high...: each rounded once, to nearest even
// clang-format on
#pragma once

#if defined(__CUDACC__)
#include "cuda/simt_device.h"
#else
#include "cuda/emulation/simt_emulation.h"
#endif
