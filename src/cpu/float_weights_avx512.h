// Sixteen-lane registers of BF16 and FP8 weights for the product of one token (float_products_body.h): a register holds
// lanes 4 h .. 4 h + 3 of the four rows of a group, h being its half. float_weights_avx2.h says the same with two rows.
// Included by *_avx512.cpp and *_avx512vbmi.cpp only; the latter look an E4M3 code up whole.
#pragma once

#include "cpu/simd_avx512.h"

namespace invar {
namespace {

constexpr int kRowsOfHalf = 4;  // rows in a register that holds half of their lanes
constexpr int kE4m3Groups = 4;  // groups of a single token that take turns, x 2 registers of strands

// Four neighbouring floats once for each row of a register of halves.
inline Floats load_half_strands(const float* p) { return _mm512_broadcast_f32x4(_mm_loadu_ps(p)); }

// [4 rows][8 lanes] of one step: out[half].
inline void load_bf16_halves(const uint16_t* p, Floats out[2]) {
    const __m512i rows = _mm512_loadu_si512(p), zero = _mm512_setzero_si512();
    out[0] = _mm512_castsi512_ps(_mm512_unpacklo_epi16(zero, rows));
    out[1] = _mm512_castsi512_ps(_mm512_unpackhi_epi16(zero, rows));
}

struct Bf16Bytes {
    __m512i upper, lower;
};

#ifdef __AVX512VBMI__

// Upper and lower bytes of the bfloat16 of the E4M3FN codes 0 to 127, exactly and NaN as NaN.
struct alignas(64) Bf16Tables {
    uint8_t upper[128], lower[128];
};
constexpr Bf16Tables bf16_tables() {
    Bf16Tables tables{};
    for (int code = 0; code < 128; ++code) {
        int exponent = code >> 3, mantissa = code & 7;
        if (exponent == 0) {  // a multiple of 2^-9: shifted until its leading bit stands where 8 does
            for (exponent = 1; mantissa != 0 && mantissa < 8; mantissa *= 2) --exponent;
        }
        int bits = (exponent + 120) << 7 | (mantissa & 7) << 4;
        if (code == 0) bits = 0;
        if (code == 127) bits = 0x7FF0;
        tables.upper[code] = static_cast<uint8_t>(bits >> 8);
        tables.lower[code] = static_cast<uint8_t>(bits);
    }
    return tables;
}
constexpr Bf16Tables kBf16Tables = bf16_tables();

inline Bf16Bytes bf16_of_e4m3(__m512i codes) {
    const auto look_up = [&](const uint8_t* table) {  // by the lower seven bits of a code
        return _mm512_permutex2var_epi8(_mm512_load_si512(table), codes, _mm512_load_si512(table + 64));
    };
    constexpr int kSignOrRest = 0xCA;  // of (sign mask, codes, looked up): mask ? code : looked up
    const __m512i sign = _mm512_set1_epi8(static_cast<char>(0x80));
    return {.upper = _mm512_ternarylogic_epi32(sign, codes, look_up(kBf16Tables.upper), kSignOrRest),
            .lower = look_up(kBf16Tables.lower)};
}

#else

// As in float_weights_avx2.h, where it is explained.
inline Bf16Bytes bf16_of_e4m3(__m512i codes) {
    const auto table = [](auto... bytes) { return _mm512_broadcast_i32x4(_mm_setr_epi8(static_cast<char>(bytes)...)); };
    const __m512i nibble = _mm512_set1_epi8(0x0F);
    const __m512i n = _mm512_and_si512(codes, nibble), h = _mm512_and_si512(_mm512_srli_epi16(codes, 4), nibble);
    const __m512i upper = table(60, 61, 62, 63, 64, 65, 66, 67, 188, 189, 190, 191, 192, 193, 194, 195);
    const __m512i index = table(0, 128, 128, 128, 128, 128, 128, 0xF1, 0, 128, 128, 128, 128, 128, 128, 0xF1);
    const __m512i repair_upper = table(60, 7, 7, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
    const __m512i repair_lower = table(0, 0x10, 0xA0, 0xF0, 0x40, 0x70, 0x20, 0x10, 0, 0, 0, 0, 0, 0, 0, 0);
    const __m512i repaired = _mm512_add_epi8(n, _mm512_shuffle_epi8(index, h));
    return {.upper = _mm512_xor_si512(_mm512_shuffle_epi8(upper, h), _mm512_shuffle_epi8(repair_upper, repaired)),
            .lower = _mm512_xor_si512(_mm512_slli_epi16(n, 4), _mm512_shuffle_epi8(repair_lower, repaired))};
}

#endif

// A line of E4M3FN codes, [4 rows][8 lanes] of two steps (layout/record.h): out[step][half].
inline void load_e4m3_halves(const uint8_t* p, Floats out[2][2]) {
    const auto [upper, lower] = bf16_of_e4m3(_mm512_loadu_si512(p));
    const __m512i halves[2] = {_mm512_unpacklo_epi8(lower, upper), _mm512_unpackhi_epi8(lower, upper)};
    for (int half = 0; half < 2; ++half) {
        out[0][half] = _mm512_castsi512_ps(_mm512_slli_epi32(halves[half], 16));
        out[1][half] = _mm512_castsi512_ps(_mm512_and_si512(halves[half], _mm512_set1_epi32(-65536)));
    }
}

// Registers of two rows each from both halves of four rows.
inline void rows_of_halves(const Floats halves[2], Floats rows[2]) {
    const auto pair = [&](int first) {  // 16 bytes of `first`: of halves[0], of halves[1], and the same of the next row
        const int a = 4 * first, b = a + 16, c = a + 4, d = c + 16;
        const __m512i places = _mm512_setr_epi32(a, a + 1, a + 2, a + 3, b, b + 1, b + 2, b + 3, c, c + 1, c + 2, c + 3,
                                                 d, d + 1, d + 2, d + 3);
        return _mm512_permutex2var_ps(halves[0], places, halves[1]);
    };
    rows[0] = pair(0);
    rows[1] = pair(2);
}

}  // namespace
}  // namespace invar
