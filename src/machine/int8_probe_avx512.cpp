// The AVX-512 VNNI loop of int8_probe.h: 64 multiply-adds per instruction.
#include <immintrin.h>

#include "machine/int8_probe.h"

namespace invar {

void int8_steps_avx512(int64_t steps) {
    __m512i sums[kInt8SumsVnni];
    for (__m512i& sum : sums) sum = _mm512_setzero_si512();
    const __m512i codes = _mm512_set1_epi8(11), x = _mm512_set1_epi8(-91);
    for (int64_t step = 0; step < steps; ++step) {
#pragma GCC unroll 12
        for (__m512i& sum : sums) __asm__ volatile("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(codes), "v"(x));
    }
}

}  // namespace invar
