// AVX-512 readers of packed records: a k-group of two rows as one register of unsigned bytes, a record's scales as
// lanes of floats, and the float steps. Only linear_*_avx512.cpp and the AMX kernel include it, each with its own
// copies. Layout: layout/record.h; the steps: linear_steps.h and docs/arithmetic.md, section 1.
#pragma once

// GCC 12's own header initialises its "undefined" registers with themselves and warns about it at every inlined use.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>

#include "base/unroll.h"
#include "cpu/activations.h"
#include "cpu/linear.h"
#include "cpu/linear_steps.h"

namespace invar {
namespace {

using Ints = __m512i;
using Floats = __m512;
constexpr int kLineBytes = 64;

[[gnu::always_inline]] inline Ints load_line(const uint8_t* p) { return _mm512_load_si512(p); }
[[gnu::always_inline]] inline __m256i load_half_line(const void* p) {
    return _mm256_load_si256(static_cast<const __m256i*>(p));
}
[[gnu::always_inline]] inline __m128i load_16(const void* p) { return _mm_load_si128(static_cast<const __m128i*>(p)); }
[[gnu::always_inline]] inline __m128i load_8(const void* p) { return _mm_loadl_epi64(static_cast<const __m128i*>(p)); }
// Loads eight lanes of an activation record for both rows of a pair.
[[gnu::always_inline]] inline Ints both_rows(const void* p) { return _mm512_broadcast_i64x4(load_half_line(p)); }
[[gnu::always_inline]] inline Floats both_rows(const float* p) {
    return _mm512_castsi512_ps(both_rows(static_cast<const void*>(p)));
}
// Keeps the compiler from hoisting every load of an unrolled loop above this point and spilling them.
[[gnu::always_inline]] inline void loads_stay_below() { __asm__ volatile("" ::: "memory"); }

// ---- codes

template <int kPlaces>  // positive: left
[[gnu::always_inline]] inline Ints shifted(Ints v) {
    if constexpr (kPlaces > 0) return _mm512_slli_epi16(v, kPlaces);
    if constexpr (kPlaces < 0) return _mm512_srli_epi16(v, -kPlaces);
    return v;
}

// Bits of `low` below kLowBits, bits of `high` from there to kAllBits, zeros above.
template <int kLowBits, int kAllBits>
[[gnu::always_inline]] inline Ints joined(Ints low, Ints high) {
    const Ints low_mask = _mm512_set1_epi8((1 << kLowBits) - 1), all_mask = _mm512_set1_epi8((1 << kAllBits) - 1);
    return _mm512_and_si512(_mm512_ternarylogic_epi32(low_mask, low, high, 0xCA), all_mask);
}

struct UpperPlanes {  // the planes of a pair that several k-groups share
    Ints crumbs[2], bits;
};

template <FormatId kId>
[[gnu::always_inline]] inline UpperPlanes load_upper_planes(const uint8_t* record, int pair) {
    UpperPlanes planes;
    if constexpr (RecordOf<kId>::kLayout.crumbs) {
        planes.crumbs[0] = load_line(record + RecordOf<kId>::kCrumbsAt + 128 * pair);
        planes.crumbs[1] = load_line(record + RecordOf<kId>::kCrumbsAt + 128 * pair + 64);
    }
    if constexpr (RecordOf<kId>::kLayout.bits) planes.bits = load_line(record + RecordOf<kId>::kBitsAt + 64 * pair);
    return planes;
}

template <CodeLevels kLevels>
[[gnu::always_inline]] inline Ints level_table() {
    const uint8_t* table = kLevels == CodeLevels::iq4 ? kIq4LevelsPlus128 : kE2M1LevelsPlus12;
    return _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(table)));
}

// k-group kJ of a pair as unsigned bytes, code + offset.
template <FormatId kId, int kJ>
[[gnu::always_inline]] inline Ints codes(const uint8_t* record, int pair, const UpperPlanes& planes) {
    constexpr RecordLayout kLayout = RecordOf<kId>::kLayout;
    if constexpr (kLayout.bytes) {
        return load_line(record + 512 * pair + kLineBytes * kJ);
    } else if constexpr (kLayout.nibbles) {
        const Ints line = load_line(record + 256 * pair + kLineBytes * (kJ % 4));
        const Ints nibbles = shifted < kJ < 4 ? 0 : -4 > (line);
        if constexpr (kLayout.bits) return joined<4, 5>(nibbles, shifted<4 - kJ>(planes.bits));
        if constexpr (kLayout.crumbs) return joined<4, 6>(nibbles, shifted<4 - 2 * (kJ % 4)>(planes.crumbs[kJ / 4]));
        const Ints plain = _mm512_and_si512(nibbles, _mm512_set1_epi8(15));
        if constexpr (kLayout.levels == CodeLevels::plain) return plain;
        return _mm512_shuffle_epi8(level_table<kLayout.levels>(), plain);
    } else {
        const Ints crumbs = shifted<-2 * (kJ % 4)>(planes.crumbs[kJ / 4]);
        if constexpr (kLayout.bits) return joined<2, 3>(crumbs, shifted<2 - kJ>(planes.bits));
        return _mm512_and_si512(crumbs, _mm512_set1_epi8(3));
    }
}

// The start value of the integer dot: -offset * (sum of q), as lanes, for one half or for the block.
template <FormatId kId>
[[gnu::always_inline]] inline Ints dot_start(const LaneRecord& x, int half) {
    constexpr int kOffset = RecordOf<kId>::kOffset;
    if constexpr (kOffset == 0) return _mm512_setzero_si512();
    Ints sum = both_rows(static_cast<const void*>(x.half_sum[half]));
    if constexpr (!RecordOf<kId>::kHalves) {
        sum = _mm512_add_epi32(sum, both_rows(static_cast<const void*>(x.half_sum[1])));
    }
    static_assert(kOffset == 0 || kOffset == 4 || kOffset == 8 || kOffset == 12 || kOffset == 16 || kOffset == 32 ||
                  kOffset == 128);
    constexpr int kShift = kOffset == 4 || kOffset == 12 ? 2
                           : kOffset == 8                ? 3
                           : kOffset == 16               ? 4
                           : kOffset == 32               ? 5
                                                         : 7;
    Ints product = _mm512_slli_epi32(sum, kShift);
    if constexpr (kOffset == 12) product = _mm512_add_epi32(product, _mm512_slli_epi32(sum, 3));
    return _mm512_sub_epi32(_mm512_setzero_si512(), product);
}

// ---- scales

struct Scales {  // lanes of a pair; which are set: scale_vectors() and load_scales()
    Floats d, m, s0, s1, m0, m1;
};

// Lane l = element 2 pair + l / 8 (+ 4 `second`) of a vector of per-row numbers.
[[gnu::always_inline]] inline Floats rows_of_pair(__m256 per_row, int pair, bool second) {
    const int first = 2 * pair + (second ? 4 : 0);
    const Ints index = _mm512_setr_epi32(first, first, first, first, first, first, first, first, first + 1, first + 1,
                                         first + 1, first + 1, first + 1, first + 1, first + 1, first + 1);
    return _mm512_permutexvar_ps(index, _mm512_castps256_ps512(per_row));
}

template <int kShift>
[[gnu::always_inline]] inline Floats six_bits(Ints v, int offset) {
    const Ints bits = _mm512_and_si512(_mm512_srli_epi32(v, kShift), _mm512_set1_epi32(63));
    return _mm512_cvtepi32_ps(_mm512_sub_epi32(bits, _mm512_set1_epi32(offset)));
}

template <FormatId kId>
[[gnu::always_inline]] inline void load_six_bit_scales(const uint8_t* line, Scales out[2]) {
    const Ints low = _mm512_cvtepu16_epi32(load_half_line(line));
    const Ints high = _mm512_cvtepu8_epi32(load_16(line + 32));
    const Ints lanes[2] = {low, _mm512_or_si512(_mm512_srli_epi32(low, 12), _mm512_slli_epi32(high, 4))};
    const __m256 d = _mm256_cvtph_ps(load_16(line + 48));  // 4 d, 4 dmin
    const __m256 minus_d = _mm256_xor_ps(d, _mm256_set1_ps(-0.0f));
    INVAR_UNROLL for (int pair = 0; pair < 2; ++pair) {
        if constexpr (RecordOf<kId>::kHalves) {
            out[pair].d = rows_of_pair(d, pair, false);
            out[pair].s0 = six_bits<0>(lanes[pair], 32);
            out[pair].s1 = six_bits<6>(lanes[pair], 32);
        } else {
            out[pair].d = _mm512_mul_ps(rows_of_pair(d, pair, false), six_bits<0>(lanes[pair], 0));
            out[pair].m = _mm512_mul_ps(rows_of_pair(minus_d, pair, true), six_bits<6>(lanes[pair], 0));
        }
    }
}

// 2^(e - 128): e8m0_half_to_f32 in arithmetic/float_types.h.
[[gnu::always_inline]] inline Floats e8m0_halves(__m128i bytes) {
    const Ints e = _mm512_cvtepu8_epi32(bytes);
    const __mmask16 subnormal = _mm512_cmplt_epi32_mask(e, _mm512_set1_epi32(2));
    const Ints normal = _mm512_slli_epi32(_mm512_sub_epi32(e, _mm512_set1_epi32(1)), 23);
    return _mm512_castsi512_ps(_mm512_mask_sllv_epi32(normal, subnormal, _mm512_set1_epi32(0x00200000), e));
}

// Half of ue4m3_to_f32: a UE4M3 byte shifted to the place of an f16's exponent is 2^-8 of its value, subnormals too.
[[gnu::always_inline]] inline Floats ue4m3_halves(__m128i bytes) {
    const __mmask16 not_zero = _mm_cmpneq_epi8_mask(bytes, _mm_set1_epi8(0x7F));
    const __m256i words = _mm256_and_si256(_mm256_cvtepu8_epi16(bytes), _mm256_set1_epi16(0x7F));
    const Floats scaled = _mm512_cvtph_ps(_mm256_slli_epi16(words, 7));
    return _mm512_maskz_mul_ps(not_zero, scaled, _mm512_set1_ps(128.0f));
}

[[gnu::always_inline]] inline Floats bf16_lanes(__m256i bits) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
}

// Scales of 128 columns, [4 rows][2]: lane l of the pair is row 2 pair + l / 8, columns of half l % 8 / 4.
template <ScaleForm kForm>
[[gnu::always_inline]] inline Floats scales_of_128(const uint8_t* side, int pair) {
    const __m128i bits = load_16(side);
    const __m256 numbers = kForm == ScaleForm::f16_of_128
                               ? _mm256_cvtph_ps(bits)
                               : _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
    const int first = 4 * pair;
    const Ints index =
        _mm512_setr_epi32(first, first, first, first, first + 1, first + 1, first + 1, first + 1, first + 2, first + 2,
                          first + 2, first + 2, first + 3, first + 3, first + 3, first + 3);
    return _mm512_permutexvar_ps(index, _mm512_castps256_ps512(numbers));
}

template <FormatId kId>
[[gnu::always_inline]] inline void load_scales(const uint8_t* record, const uint8_t* side, Scales out[2]) {
    constexpr ScaleForm kForm = RecordOf<kId>::kLayout.scales;
    const uint8_t* const line = record + RecordOf<kId>::kScalesAt;
    if constexpr (kForm == ScaleForm::six_bit) return load_six_bit_scales<kId>(line, out);
    INVAR_UNROLL for (int pair = 0; pair < 2; ++pair) {
        Scales& s = out[pair];
        if constexpr (kForm == ScaleForm::f16 || kForm == ScaleForm::f16_minimum) {
            s.d = _mm512_cvtph_ps(load_half_line(line + 32 * pair));
        }
        if constexpr (kForm == ScaleForm::f16_minimum) s.m = _mm512_cvtph_ps(load_half_line(line + 64 + 32 * pair));
        if constexpr (kForm == ScaleForm::nibbles) {
            const Ints fifteen = _mm512_set1_epi32(15);
            const Ints half0 = _mm512_cvtepu8_epi32(load_16(line + 32 * pair));
            const Ints half1 = _mm512_cvtepu8_epi32(load_16(line + 32 * pair + 16));
            s.s0 = _mm512_cvtepi32_ps(_mm512_and_si512(half0, fifteen));
            s.s1 = _mm512_cvtepi32_ps(_mm512_and_si512(half1, fifteen));
            s.m0 = _mm512_cvtepi32_ps(_mm512_srli_epi32(half0, 4));
            s.m1 = _mm512_cvtepi32_ps(_mm512_srli_epi32(half1, 4));
            const __m256 d = _mm256_cvtph_ps(load_16(side));
            s.d = rows_of_pair(d, pair, false);
            s.m = rows_of_pair(d, pair, true);
        }
        if constexpr (kForm == ScaleForm::int8) {
            s.s0 = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(load_16(line + 32 * pair)));
            s.s1 = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(load_16(line + 32 * pair + 16)));
            s.d = rows_of_pair(_mm256_cvtph_ps(load_8(side)), pair, false);
        }
        if constexpr (kForm == ScaleForm::iq4_xs) {
            const Ints low = _mm512_cvtepu8_epi32(load_16(side));
            const __m128i packed = load_8(side + 16);
            const __m128i nibbles =
                _mm_and_si128(_mm_unpacklo_epi64(packed, _mm_srli_epi16(packed, 4)), _mm_set1_epi8(15));
            const Ints high = _mm512_slli_epi32(_mm512_cvtepu8_epi32(nibbles), 2);
            const Ints lanes = pair == 0 ? low : _mm512_or_si512(_mm512_srli_epi32(low, 6), high);
            s.d = _mm512_mul_ps(rows_of_pair(_mm256_cvtph_ps(load_8(side + 24)), pair, false), six_bits<0>(lanes, 32));
        }
        if constexpr (kForm == ScaleForm::bf16) s.d = bf16_lanes(load_half_line(line + 32 * pair));
        if constexpr (kForm == ScaleForm::f16_of_128 || kForm == ScaleForm::bf16_of_128) {
            s.d = scales_of_128<kForm>(side, pair);
        }
        if constexpr (kForm == ScaleForm::e8m0) s.d = e8m0_halves(load_16(side + 16 * pair));
        if constexpr (kForm == ScaleForm::ue4m3) {
            s.s0 = ue4m3_halves(load_16(line + 32 * pair));
            s.s1 = ue4m3_halves(load_16(line + 32 * pair + 16));
        }
    }
}

// ---- the float steps. An integer sum of two scaled halves is below 2^24 (formats/q6_k), so it may be computed in
// floats. Each sum starts from +0, because a product of zero may be -0 and the definition converts the integer 0, which
// is +0.

// Formats with one scale per 32, and the first half of two_floats.
template <Step kStep>
[[gnu::always_inline]] inline Floats add_block(Floats s, const Scales& w, const LaneRecord& x, Ints idot) {
    const Floats scale = _mm512_mul_ps(w.d, both_rows(x.d));
    s = _mm512_fmadd_ps(scale, _mm512_cvtepi32_ps(idot), s);
    if constexpr (kStep == Step::minimum) s = _mm512_fmadd_ps(w.m, both_rows(x.sx), s);
    return s;
}

[[gnu::always_inline]] inline Floats first_half_sum(const Scales& w, Ints idot) {
    return _mm512_fmadd_ps(w.s0, _mm512_cvtepi32_ps(idot), _mm512_setzero_ps());
}

template <Step kStep>
[[gnu::always_inline]] inline Floats add_halves(Floats s, const Scales& w, const LaneRecord& x, Floats first_sum,
                                                Ints idot) {
    const Floats d = both_rows(x.d);
    const Floats isum = _mm512_fmadd_ps(w.s1, _mm512_cvtepi32_ps(idot), first_sum);
    s = _mm512_fmadd_ps(_mm512_mul_ps(w.d, d), isum, s);
    if constexpr (kStep == Step::halves_minimum) {
        const Floats sum0 = _mm512_cvtepi32_ps(both_rows(static_cast<const void*>(x.half_sum[0])));
        const Floats sum1 = _mm512_cvtepi32_ps(both_rows(static_cast<const void*>(x.half_sum[1])));
        const Floats imin = _mm512_fmadd_ps(w.m1, sum1, _mm512_fmadd_ps(w.m0, sum0, _mm512_setzero_ps()));
        s = _mm512_fnmadd_ps(_mm512_mul_ps(w.m, d), imin, s);
    }
    return s;
}

// One half of two_floats.
[[gnu::always_inline]] inline Floats add_float_half(Floats s, Floats scale, const LaneRecord& x, Ints idot) {
    return _mm512_fmadd_ps(_mm512_mul_ps(scale, both_rows(x.d)), _mm512_cvtepi32_ps(idot), s);
}

// ---- the end of a row

// Computes ((((((s0+s1)+s2)+s3)+s4)+s5)+s6)+s7 of four rows from pair 0's strands and pair 1's.
[[gnu::always_inline]] inline __m128 strand_totals(Floats pair0, Floats pair1) {
    const Ints lower =
        _mm512_setr_epi32(0, 8, 16, 24, 1, 9, 17, 25, 2, 10, 18, 26, 3, 11, 19, 27);  // strands 0-3 x 4 rows
    const Ints upper = _mm512_setr_epi32(4, 12, 20, 28, 5, 13, 21, 29, 6, 14, 22, 30, 7, 15, 23, 31);
    const Floats low = _mm512_permutex2var_ps(pair0, lower, pair1), high = _mm512_permutex2var_ps(pair0, upper, pair1);
    __m128 sum = _mm_add_ps(_mm512_castps512_ps128(low), _mm512_extractf32x4_ps(low, 1));
    sum = _mm_add_ps(sum, _mm512_extractf32x4_ps(low, 2));
    sum = _mm_add_ps(sum, _mm512_extractf32x4_ps(low, 3));
    sum = _mm_add_ps(sum, _mm512_castps512_ps128(high));
    sum = _mm_add_ps(sum, _mm512_extractf32x4_ps(high, 1));
    sum = _mm_add_ps(sum, _mm512_extractf32x4_ps(high, 2));
    return _mm_add_ps(sum, _mm512_extractf32x4_ps(high, 3));
}

// A task with its numbers computed once.
struct Product {
    const uint8_t* weights;  // packed matrix
    int64_t group_bytes, sides_bytes, records;
    const LaneRecord* x;  // token t: x + t * records
    float* out;           // out[t * out_stride + row]
    int64_t out_stride, rows;
};

template <FormatId kId>
Product product_of(const LinearTask& task) {
    const WeightMatrix& weight = *task.weight;
    const int64_t records = (weight.columns + kRecordColumns - 1) / kRecordColumns;
    const int64_t sides = (records * RecordOf<kId>::kSideBytes + 63) / 64 * 64;
    return {.weights = reinterpret_cast<const uint8_t*>(weight.data),
            .group_bytes = sides + records * RecordOf<kId>::kMainBytes,
            .sides_bytes = sides,
            .records = records,
            .x = reinterpret_cast<const LaneRecord*>(task.activations),
            .out = task.out,
            .out_stride = task.out_stride,
            .rows = weight.rows};
}

// Stores four results of a token, fewer at the matrix's last rows.
[[gnu::always_inline]] inline void store_results(const Product& p, int64_t token, int64_t group, __m128 y) {
    const int64_t left = p.rows - 4 * group;
    const __mmask8 mask = left >= 4 ? 15 : static_cast<__mmask8>((1 << left) - 1);
    _mm_mask_storeu_ps(p.out + token * p.out_stride + 4 * group, mask, y);
}

}  // namespace
}  // namespace invar
