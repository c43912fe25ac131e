// Eight-lane registers of BF16 and FP8 weights for the product of one token (float_products_body.h): a register holds
// lanes 4 h .. 4 h + 3 of two rows, h being its half, because that is what interleaving bytes within 16 bytes gives
// without a permutation. float_weights_avx512.h says the same with four rows. Included by *_avx2.cpp only.
#pragma once

#include "cpu/simd_avx2.h"

namespace invar {
namespace {

constexpr int kRowsOfHalf = 2;  // rows in a register that holds half of their lanes
constexpr int kE4m3Groups = 2;  // groups of a single token that take turns, x 4 registers of strands

// Four neighbouring floats once for each row of a register of halves.
inline Floats load_half_strands(const float* p) { return _mm256_broadcast_ps(reinterpret_cast<const __m128*>(p)); }

// [2 rows][8 lanes] of one step: out[half].
inline void load_bf16_halves(const uint16_t* p, Floats out[2]) {
    const __m256i rows = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)), zero = _mm256_setzero_si256();
    out[0] = _mm256_castsi256_ps(_mm256_unpacklo_epi16(zero, rows));
    out[1] = _mm256_castsi256_ps(_mm256_unpackhi_epi16(zero, rows));
}

// The bfloat16 of E4M3FN codes, exactly and NaN as NaN, as their upper and lower bytes. With h the upper four bits of a
// code (sign, three of the exponent) and n the lower four (the last of the exponent, the mantissa), a normal number is
// the bytes sign | 60 + h % 8, 16 n. What differs is repaired by an exclusive or of numbers looked up by n: of codes
// with h % 8 = 0 (subnormal numbers and zero), and of NaN, for which the index wraps to that of zero.
struct Bf16Bytes {
    __m256i upper, lower;
};
inline Bf16Bytes bf16_of_e4m3(__m256i codes) {
    const auto table = [](auto... bytes) {
        return _mm256_broadcastsi128_si256(_mm_setr_epi8(static_cast<char>(bytes)...));
    };
    const __m256i nibble = _mm256_set1_epi8(0x0F);
    const __m256i n = _mm256_and_si256(codes, nibble), h = _mm256_and_si256(_mm256_srli_epi16(codes, 4), nibble);
    const __m256i upper = table(60, 61, 62, 63, 64, 65, 66, 67, 188, 189, 190, 191, 192, 193, 194, 195);
    // Bit 7 of an index makes the number looked up 0. 0xF1 + 15 is 0: code 0x7F takes the repair of code 0.
    const __m256i index = table(0, 128, 128, 128, 128, 128, 128, 0xF1, 0, 128, 128, 128, 128, 128, 128, 0xF1);
    const __m256i repair_upper = table(60, 7, 7, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
    const __m256i repair_lower = table(0, 0x10, 0xA0, 0xF0, 0x40, 0x70, 0x20, 0x10, 0, 0, 0, 0, 0, 0, 0, 0);
    const __m256i repaired = _mm256_add_epi8(n, _mm256_shuffle_epi8(index, h));
    return {.upper = _mm256_xor_si256(_mm256_shuffle_epi8(upper, h), _mm256_shuffle_epi8(repair_upper, repaired)),
            .lower = _mm256_xor_si256(_mm256_slli_epi16(n, 4), _mm256_shuffle_epi8(repair_lower, repaired))};
}

// Half a line of E4M3FN codes, [2 rows][8 lanes] of two steps (layout/record.h): out[step][half].
inline void load_e4m3_halves(const uint8_t* p, Floats out[2][2]) {
    const auto [upper, lower] = bf16_of_e4m3(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
    const __m256i halves[2] = {_mm256_unpacklo_epi8(lower, upper), _mm256_unpackhi_epi8(lower, upper)};
    for (int half = 0; half < 2; ++half) {
        out[0][half] = _mm256_castsi256_ps(_mm256_slli_epi32(halves[half], 16));
        out[1][half] = _mm256_castsi256_ps(_mm256_and_si256(halves[half], _mm256_set1_epi32(-65536)));
    }
}

// Registers of a row each from both halves of two rows.
inline void rows_of_halves(const Floats halves[2], Floats rows[2]) {
    rows[0] = _mm256_permute2f128_ps(halves[0], halves[1], 0x20);
    rows[1] = _mm256_permute2f128_ps(halves[0], halves[1], 0x31);
}

}  // namespace
}  // namespace invar
