// The functions of simt.h for nvcc: thin names for hardware instructions. Only simt.h includes it. Nothing is checked
// here; the tests run the same kernels under simt_emulation.h.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

#include "cuda/launch_observer.h"

#define SIMT_DEVICE __device__ __forceinline__
#define SIMT_UNROLL _Pragma("unroll")
#define SIMT_UNROLL_BY(count) SIMT_PRAGMA(unroll count)
#define SIMT_PRAGMA(text) _Pragma(#text)
// static: a kernel in a header is launched from several files, and nvcc ignores `inline` on kernels.
#define SIMT_KERNEL(threads) static __global__ void __launch_bounds__(threads)
#define SIMT_SHARED(Type, name, count) __shared__ alignas(16) Type name[count]
#define SIMT_DYNAMIC_SHARED(name)                                              \
    extern __shared__ alignas(16) unsigned char invar_dynamic_shared_memory[]; \
    unsigned char* const name = invar_dynamic_shared_memory

namespace invar::simt {

inline constexpr int kWarp = 32;
inline constexpr uint32_t kAllLanes = 0xFFFFFFFFu;

struct alignas(16) Words4 {
    uint32_t w[4];
};
struct alignas(8) Words2 {
    uint32_t w[2];
};
struct alignas(16) Floats4 {
    float f[4];
};

template <class T>
using Global = T*;
template <class T>
using Shared = T*;

template <class To, class From>
SIMT_DEVICE To* view(From* pointer) {
    return reinterpret_cast<To*>(pointer);
}
template <class T>
__host__ __device__ inline bool is_null(const T* pointer) {
    return pointer == nullptr;
}

SIMT_DEVICE int thread_index() { return static_cast<int>(threadIdx.x); }
SIMT_DEVICE int block_index() { return static_cast<int>(blockIdx.x); }
SIMT_DEVICE int block_index_y() { return static_cast<int>(blockIdx.y); }
SIMT_DEVICE int block_index_z() { return static_cast<int>(blockIdx.z); }
SIMT_DEVICE int block_threads() { return static_cast<int>(blockDim.x); }
SIMT_DEVICE int lane_index() { return static_cast<int>(threadIdx.x) & 31; }
SIMT_DEVICE int warp_index() { return static_cast<int>(threadIdx.x) >> 5; }

SIMT_DEVICE void sync_block() { __syncthreads(); }
SIMT_DEVICE void sync_warp() { __syncwarp(); }

template <class T>
SIMT_DEVICE T shuffle_among(uint32_t mask, T value, int source) {
    return __shfl_sync(mask, value, source);
}
template <class T>
SIMT_DEVICE T shuffle_xor_among(uint32_t mask, T value, int bits) {
    return __shfl_xor_sync(mask, value, bits);
}
template <class T>
SIMT_DEVICE T shuffle(T value, int source) {
    return __shfl_sync(kAllLanes, value, source);
}
template <class T>
SIMT_DEVICE T shuffle_xor(T value, int bits) {
    return __shfl_xor_sync(kAllLanes, value, bits);
}
SIMT_DEVICE uint32_t ballot(bool predicate) { return __ballot_sync(kAllLanes, predicate); }
SIMT_DEVICE bool any(bool predicate) { return __any_sync(kAllLanes, predicate) != 0; }

SIMT_DEVICE int32_t dot4(uint32_t w, uint32_t x, int32_t sum) {
    return __dp4a(static_cast<int>(w), static_cast<int>(x), sum);
}
SIMT_DEVICE int32_t dot4_unsigned(uint32_t w, uint32_t x, int32_t sum) {
    int32_t result;
    asm("dp4a.u32.s32 %0, %1, %2, %3;" : "=r"(result) : "r"(w), "r"(x), "r"(sum));
    return result;
}
SIMT_DEVICE uint32_t permute(uint32_t low, uint32_t high, uint32_t selector) {
    return __byte_perm(low, high, selector);
}

SIMT_DEVICE void mma_s8(int32_t (&sums)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], const int32_t (&c)[4]) {
    asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%10,%11,%12,%13};"
        : "=r"(sums[0]), "=r"(sums[1]), "=r"(sums[2]), "=r"(sums[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "r"(c[0]), "r"(c[1]), "r"(c[2]), "r"(c[3]));
}
SIMT_DEVICE void mma_s8_half(int32_t (&sums)[4], uint32_t a0, uint32_t a1, uint32_t b, const int32_t (&c)[4]) {
    asm("mma.sync.aligned.m16n8k16.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%7,%8,%9,%10};"
        : "=r"(sums[0]), "=r"(sums[1]), "=r"(sums[2]), "=r"(sums[3])
        : "r"(a0), "r"(a1), "r"(b), "r"(c[0]), "r"(c[1]), "r"(c[2]), "r"(c[3]));
}
SIMT_DEVICE void load_matrix(uint32_t (&r)[4], const Words4* row) {
    const auto address = static_cast<uint32_t>(__cvta_generic_to_shared(row));
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(address)
                 : "memory");
}

SIMT_DEVICE void copy_async(Words4* to, const Words4* from) {
    const auto address = static_cast<uint32_t>(__cvta_generic_to_shared(to));
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(address), "l"(from) : "memory");
}
template <class T>
SIMT_DEVICE void copy_async4(T* to, const T* from) {
    static_assert(sizeof(T) == 4);
    const auto address = static_cast<uint32_t>(__cvta_generic_to_shared(to));
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(address), "l"(from) : "memory");
}
SIMT_DEVICE void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int kLeft>
SIMT_DEVICE void wait_for_copies() {
    asm volatile("cp.async.wait_group %0;" ::"n"(kLeft) : "memory");
}

SIMT_DEVICE int32_t atomic_add(int32_t* place, int32_t value) { return atomicAdd(place, value); }
SIMT_DEVICE void atomic_min(uint64_t* place, uint64_t value) {
    atomicMin(reinterpret_cast<unsigned long long*>(place), static_cast<unsigned long long>(value));
}

// Weights are read once per pass, so they bypass L1 and are the first to leave L2.
template <class T>
SIMT_DEVICE T load_once(const T* p) {
    if constexpr (sizeof(T) == 16) {
        const uint4 v = __ldcs(reinterpret_cast<const uint4*>(p));
        T result;
        result.w[0] = v.x, result.w[1] = v.y, result.w[2] = v.z, result.w[3] = v.w;
        return result;
    } else if constexpr (sizeof(T) == 8) {
        const uint2 v = __ldcs(reinterpret_cast<const uint2*>(p));
        T result;
        result.w[0] = v.x, result.w[1] = v.y;
        return result;
    } else {
        return __ldcs(p);
    }
}

SIMT_DEVICE float fma(float a, float b, float c) { return __fmaf_rn(a, b, c); }
SIMT_DEVICE float divide(float a, float b) { return __fdiv_rn(a, b); }
SIMT_DEVICE float square_root(float a) { return __fsqrt_rn(a); }
SIMT_DEVICE float round_to_even(float a) { return rintf(a); }
SIMT_DEVICE float as_float(uint32_t bits) { return __uint_as_float(bits); }
SIMT_DEVICE uint32_t as_bits(float value) { return __float_as_uint(value); }
SIMT_DEVICE float f16_to_float(uint16_t bits) { return __half2float(__ushort_as_half(bits)); }
SIMT_DEVICE uint16_t float_to_f16(float value) { return __half_as_ushort(__float2half_rn(value)); }

// ---- the host's side

struct Stream {
    cudaStream_t handle = nullptr;
    LaunchObserver* observer = nullptr;
};

struct Grid {
    int x = 1, y = 1, z = 1;
    int threads = 32;
    int dynamic_shared_bytes = 0;
    const char* name = "";  // for observers and the emulation's messages
};

template <class Kernel, class Args>
void launch(Stream stream, const Grid& grid, Kernel kernel, const Args& args) {
    const dim3 blocks(static_cast<unsigned>(grid.x), static_cast<unsigned>(grid.y), static_cast<unsigned>(grid.z));
    if (stream.observer != nullptr) stream.observer->before(grid.name);
    kernel<<<blocks, static_cast<unsigned>(grid.threads), static_cast<size_t>(grid.dynamic_shared_bytes),
             stream.handle>>>(args);
    if (stream.observer != nullptr) stream.observer->after();
}

// A pointer with the number of its elements, as kernels take it.
template <class T>
T* global(T* data, int64_t) {
    return data;
}

}  // namespace invar::simt
