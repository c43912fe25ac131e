// The AVX2 loop of int8_probe.h. vpmaddubsw makes 32 products and adds neighbours; several results are added in int16
// and then widened by one vpmaddwd.
#include <immintrin.h>

#include "machine/int8_probe.h"

namespace invar {

void int8_steps_avx2(int64_t steps) {
    __m256i sums[kInt8SumsAvx2];
    for (__m256i& sum : sums) sum = _mm256_setzero_si256();
    const __m256i codes = _mm256_set1_epi8(11), x = _mm256_set1_epi8(-91), ones = _mm256_set1_epi16(1);
    for (int64_t step = 0; step < steps; ++step) {
#pragma GCC unroll 4
        for (__m256i& sum : sums) {
            __m256i products, together;
            __asm__ volatile("vpmaddubsw %2, %1, %0" : "=x"(together) : "x"(codes), "x"(x));
#pragma GCC unroll 8
            for (int64_t i = 1; i < kInt8ProductsWidenedTogether; ++i) {
                __asm__ volatile("vpmaddubsw %2, %1, %0" : "=x"(products) : "x"(codes), "x"(x));
                __asm__ volatile("vpaddw %1, %0, %0" : "+x"(together) : "x"(products));
            }
            __asm__ volatile("vpmaddwd %1, %0, %0" : "+x"(together) : "x"(ones));
            __asm__ volatile("vpaddd %1, %0, %0" : "+x"(sum) : "x"(together));
        }
    }
}

}  // namespace invar
