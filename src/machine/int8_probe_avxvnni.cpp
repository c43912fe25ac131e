// The AVX-VNNI loop of int8_probe.h: 32 multiply-adds per instruction.
#include <immintrin.h>

#include "machine/int8_probe.h"

namespace invar {

void int8_steps_avx_vnni(int64_t steps) {
    __m256i sums[kInt8SumsVnni];
    for (__m256i& sum : sums) sum = _mm256_setzero_si256();
    const __m256i codes = _mm256_set1_epi8(11), x = _mm256_set1_epi8(-91);
    for (int64_t step = 0; step < steps; ++step) {
#pragma GCC unroll 12
        for (__m256i& sum : sums) __asm__ volatile("%{vex%} vpdpbusd %2, %1, %0" : "+x"(sum) : "x"(codes), "x"(x));
    }
}

}  // namespace invar
