// Readers of packed records with 256-bit registers: a k-group of one row as one register of bytes, a record's scales as
// lanes of floats, and the float steps. A file for AVX2 or AVX-VNNI includes linear_dot_maddubs.h or
// linear_dot_dpbusd.h (both define IntegerDot, which multiplies the bytes) and then this file, each with its own
// copies. Layout: layout/record.h; the steps: linear_steps.h and docs/arithmetic.md, section 1.
#pragma once

#include <immintrin.h>

#include "base/unroll.h"
#include "cpu/activations.h"
#include "cpu/linear.h"
#include "cpu/linear_steps.h"

namespace invar {
namespace {

using Ints = __m256i;
using Floats = __m256;
constexpr int kLineBytes = 64;

[[gnu::always_inline]] inline Ints load_row(const void* p) { return _mm256_load_si256(static_cast<const Ints*>(p)); }
[[gnu::always_inline]] inline __m128i load_16(const void* p) { return _mm_load_si128(static_cast<const __m128i*>(p)); }
[[gnu::always_inline]] inline __m128i load_8(const void* p) { return _mm_loadl_epi64(static_cast<const __m128i*>(p)); }
// Keeps the compiler from hoisting every load of an unrolled loop above this point and spilling them.
[[gnu::always_inline]] inline void loads_stay_below() { __asm__ volatile("" ::: "memory"); }

// ---- codes

template <int kPlaces>  // positive: left
[[gnu::always_inline]] inline Ints shifted(Ints v) {
    if constexpr (kPlaces > 0) return _mm256_slli_epi16(v, kPlaces);
    if constexpr (kPlaces < 0) return _mm256_srli_epi16(v, -kPlaces);
    return v;
}

template <int kFirst, int kLast>  // the bits of each byte that are kept
[[gnu::always_inline]] inline Ints kept(Ints v) {
    return _mm256_and_si256(v, _mm256_set1_epi8((1 << kLast) - (1 << kFirst)));
}

struct UpperPlanes {  // the planes of a row that several k-groups share
    Ints crumbs[2], bits;
};

template <FormatId kId>
[[gnu::always_inline]] inline UpperPlanes load_upper_planes(const uint8_t* record, int row) {
    const int pair = row / 2, at = 32 * (row % 2);
    UpperPlanes planes;
    if constexpr (RecordOf<kId>::kLayout.crumbs) {
        planes.crumbs[0] = load_row(record + RecordOf<kId>::kCrumbsAt + 128 * pair + at);
        planes.crumbs[1] = load_row(record + RecordOf<kId>::kCrumbsAt + 128 * pair + 64 + at);
    }
    if constexpr (RecordOf<kId>::kLayout.bits) planes.bits = load_row(record + RecordOf<kId>::kBitsAt + 64 * pair + at);
    return planes;
}

// 8-bit codes (Q8_0, the levels of IQ4) stay signed if IntegerDot cannot take them as code + 128.
template <FormatId kId>
constexpr bool kSignedCodes = RecordOf<kId>::kOffset == 128 && IntegerDot::kMostUnsigned < 255;

template <FormatId kId>
[[gnu::always_inline]] inline Ints looked_up(Ints nibbles) {
    constexpr CodeLevels kLevels = RecordOf<kId>::kLayout.levels;
    const uint8_t* levels = kLevels == CodeLevels::iq4 ? kIq4LevelsPlus128 : kE2M1LevelsPlus12;
    Ints table = _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(levels)));
    if constexpr (kSignedCodes<kId>) table = _mm256_xor_si256(table, _mm256_set1_epi8(-128));
    return _mm256_shuffle_epi8(table, nibbles);
}

// k-group kJ of a row: unsigned bytes, code + offset; or signed bytes if kSignedCodes.
template <FormatId kId, int kJ>
[[gnu::always_inline]] inline Ints codes(const uint8_t* record, int row, const UpperPlanes& planes) {
    constexpr RecordLayout kLayout = RecordOf<kId>::kLayout;
    const int pair = row / 2, at = 32 * (row % 2);
    if constexpr (kLayout.bytes) {
        const Ints plus_128 = load_row(record + 512 * pair + kLineBytes * kJ + at);
        if constexpr (kSignedCodes<kId>) return _mm256_xor_si256(plus_128, _mm256_set1_epi8(-128));
        return plus_128;
    } else if constexpr (kLayout.nibbles) {
        const Ints line = load_row(record + 256 * pair + kLineBytes * (kJ % 4) + at);
        const Ints nibbles = kept<0, 4>(shifted < kJ < 4 ? 0 : -4 > (line));
        if constexpr (kLayout.bits) return _mm256_or_si256(nibbles, kept<4, 5>(shifted<4 - kJ>(planes.bits)));
        if constexpr (kLayout.crumbs) {
            return _mm256_or_si256(nibbles, kept<4, 6>(shifted<4 - 2 * (kJ % 4)>(planes.crumbs[kJ / 4])));
        }
        if constexpr (kLayout.levels == CodeLevels::plain) return nibbles;
        return looked_up<kId>(nibbles);
    } else {
        const Ints crumbs = kept<0, 2>(shifted<-2 * (kJ % 4)>(planes.crumbs[kJ / 4]));
        if constexpr (kLayout.bits) return _mm256_or_si256(crumbs, kept<2, 3>(shifted<2 - kJ>(planes.bits)));
        return crumbs;
    }
}

// The start value of the integer dot: -offset * (sum of q), as lanes, for one half or for the block.
template <FormatId kId>
[[gnu::always_inline]] inline Ints dot_start(const LaneRecord& x, int half) {
    constexpr int kOffset = RecordOf<kId>::kOffset;
    if constexpr (kOffset == 0 || kSignedCodes<kId>) return _mm256_setzero_si256();
    Ints sum = load_row(x.half_sum[half]);
    if constexpr (!RecordOf<kId>::kHalves) sum = _mm256_add_epi32(sum, load_row(x.half_sum[1]));
    static_assert(kOffset == 0 || kOffset == 4 || kOffset == 8 || kOffset == 12 || kOffset == 16 || kOffset == 32 ||
                  kOffset == 128);
    constexpr int kShift = kOffset == 4 || kOffset == 12 ? 2
                           : kOffset == 8                ? 3
                           : kOffset == 16               ? 4
                           : kOffset == 32               ? 5
                                                         : 7;
    Ints product = _mm256_slli_epi32(sum, kShift);
    if constexpr (kOffset == 12) product = _mm256_add_epi32(product, _mm256_slli_epi32(sum, 3));
    return _mm256_sub_epi32(_mm256_setzero_si256(), product);
}

// ---- scales

struct Scales {  // lanes of a row; which are set: scale_vectors() and load_scales()
    Floats d, m, s0, s1, m0, m1;
};

[[gnu::always_inline]] inline float widened(const uint8_t* f16, int index) {
    uint16_t bits;
    __builtin_memcpy(&bits, f16 + 2 * index, 2);
    return _cvtsh_ss(bits);
}

template <int kShift>
[[gnu::always_inline]] inline Floats six_bits(Ints v, int offset) {
    const Ints bits = _mm256_and_si256(_mm256_srli_epi32(v, kShift), _mm256_set1_epi32(63));
    return _mm256_cvtepi32_ps(_mm256_sub_epi32(bits, _mm256_set1_epi32(offset)));
}

template <FormatId kId>
[[gnu::always_inline]] inline Scales load_six_bit_scales(const uint8_t* line, int row) {
    const int at = 8 * (row % 2);
    Ints lanes = _mm256_cvtepu16_epi32(load_16(line + 2 * at));
    if (row >= 2) {
        const Ints high = _mm256_slli_epi32(_mm256_cvtepu8_epi32(load_8(line + 32 + at)), 4);
        lanes = _mm256_or_si256(_mm256_srli_epi32(lanes, 12), high);
    }
    const Floats d = _mm256_set1_ps(widened(line + 48, row));
    Scales s;
    if constexpr (RecordOf<kId>::kHalves) {
        s.d = d;
        s.s0 = six_bits<0>(lanes, 32);
        s.s1 = six_bits<6>(lanes, 32);
    } else {
        s.d = _mm256_mul_ps(d, six_bits<0>(lanes, 0));
        s.m = _mm256_mul_ps(_mm256_set1_ps(-widened(line + 56, row)), six_bits<6>(lanes, 0));
    }
    return s;
}

// 2^(e - 128): e8m0_half_to_f32 in arithmetic/float_types.h.
[[gnu::always_inline]] inline Floats e8m0_halves(__m128i bytes) {
    const Ints e = _mm256_cvtepu8_epi32(bytes);
    const Ints subnormal = _mm256_cmpgt_epi32(_mm256_set1_epi32(2), e);
    const Ints normal = _mm256_slli_epi32(_mm256_sub_epi32(e, _mm256_set1_epi32(1)), 23);
    return _mm256_castsi256_ps(
        _mm256_blendv_epi8(normal, _mm256_sllv_epi32(_mm256_set1_epi32(0x00200000), e), subnormal));
}

// Half of ue4m3_to_f32: a UE4M3 byte shifted to the place of an f16's exponent is 2^-8 of its value, subnormals too.
[[gnu::always_inline]] inline Floats ue4m3_halves(__m128i bytes) {
    const __m128i reads_as_zero = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(0x7F));
    const __m128i used = _mm_andnot_si128(reads_as_zero, _mm_and_si128(bytes, _mm_set1_epi8(0x7F)));
    return _mm256_mul_ps(_mm256_cvtph_ps(_mm_slli_epi16(_mm_cvtepu8_epi16(used), 7)), _mm256_set1_ps(128.0f));
}

// Scales of 128 columns, [4 rows][2]: lanes 0 to 3 are the first half's.
template <ScaleForm kForm>
[[gnu::always_inline]] inline Floats scales_of_128(const uint8_t* side, int row) {
    const __m128i bits = load_16(side);
    const Floats numbers = kForm == ScaleForm::f16_of_128
                               ? _mm256_cvtph_ps(bits)
                               : _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
    const int first = 2 * row;
    return _mm256_permutevar8x32_ps(
        numbers, _mm256_setr_epi32(first, first, first, first, first + 1, first + 1, first + 1, first + 1));
}

template <FormatId kId>
[[gnu::always_inline]] inline Scales load_scales(const uint8_t* record, const uint8_t* side, int row) {
    constexpr ScaleForm kForm = RecordOf<kId>::kLayout.scales;
    const uint8_t* const line = record + RecordOf<kId>::kScalesAt;
    const int lane = 8 * (row % 2), wide = 8 * row, halves_at = 32 * (row / 2) + lane;
    Scales s;
    if constexpr (kForm == ScaleForm::six_bit) return load_six_bit_scales<kId>(line, row);
    if constexpr (kForm == ScaleForm::f16 || kForm == ScaleForm::f16_minimum) {
        s.d = _mm256_cvtph_ps(load_16(line + 2 * wide));
    }
    if constexpr (kForm == ScaleForm::f16_minimum) s.m = _mm256_cvtph_ps(load_16(line + 64 + 2 * wide));
    if constexpr (kForm == ScaleForm::nibbles) {
        const Ints fifteen = _mm256_set1_epi32(15);
        const Ints half0 = _mm256_cvtepu8_epi32(load_8(line + halves_at));
        const Ints half1 = _mm256_cvtepu8_epi32(load_8(line + halves_at + 16));
        s.s0 = _mm256_cvtepi32_ps(_mm256_and_si256(half0, fifteen));
        s.s1 = _mm256_cvtepi32_ps(_mm256_and_si256(half1, fifteen));
        s.m0 = _mm256_cvtepi32_ps(_mm256_srli_epi32(half0, 4));
        s.m1 = _mm256_cvtepi32_ps(_mm256_srli_epi32(half1, 4));
        s.d = _mm256_set1_ps(widened(side, row));
        s.m = _mm256_set1_ps(widened(side + 8, row));
    }
    if constexpr (kForm == ScaleForm::int8) {
        s.s0 = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(load_8(line + halves_at)));
        s.s1 = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(load_8(line + halves_at + 16)));
        s.d = _mm256_set1_ps(widened(side, row));
    }
    if constexpr (kForm == ScaleForm::iq4_xs) {
        Ints lanes = _mm256_cvtepu8_epi32(load_8(side + lane));
        if (row >= 2) {
            const __m128i packed = load_8(side + 16);
            const __m128i nibbles = _mm_and_si128(row % 2 == 0 ? packed : _mm_srli_epi16(packed, 4), _mm_set1_epi8(15));
            lanes = _mm256_or_si256(_mm256_srli_epi32(lanes, 6), _mm256_slli_epi32(_mm256_cvtepu8_epi32(nibbles), 2));
        }
        s.d = _mm256_mul_ps(_mm256_set1_ps(widened(side + 24, row)), six_bits<0>(lanes, 32));
    }
    if constexpr (kForm == ScaleForm::bf16) {
        s.d = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(load_16(line + 2 * wide)), 16));
    }
    if constexpr (kForm == ScaleForm::f16_of_128 || kForm == ScaleForm::bf16_of_128) {
        s.d = scales_of_128<kForm>(side, row);
    }
    if constexpr (kForm == ScaleForm::e8m0) s.d = e8m0_halves(load_8(side + wide));
    if constexpr (kForm == ScaleForm::ue4m3) {
        s.s0 = ue4m3_halves(load_8(line + halves_at));
        s.s1 = ue4m3_halves(load_8(line + halves_at + 16));
    }
    return s;
}

// ---- the float steps. linear_weights_avx512.h has the same steps and explains why sums of halves may be floats and
// start from +0.

[[gnu::always_inline]] inline Floats lanes_of(const float* p) { return _mm256_load_ps(p); }

template <Step kStep>
[[gnu::always_inline]] inline Floats add_block(Floats s, const Scales& w, const LaneRecord& x, Ints idot) {
    s = _mm256_fmadd_ps(_mm256_mul_ps(w.d, lanes_of(x.d)), _mm256_cvtepi32_ps(idot), s);
    if constexpr (kStep == Step::minimum) s = _mm256_fmadd_ps(w.m, lanes_of(x.sx), s);
    return s;
}

[[gnu::always_inline]] inline Floats first_half_sum(const Scales& w, Ints idot) {
    return _mm256_fmadd_ps(w.s0, _mm256_cvtepi32_ps(idot), _mm256_setzero_ps());
}

template <Step kStep>
[[gnu::always_inline]] inline Floats add_halves(Floats s, const Scales& w, const LaneRecord& x, Floats first_sum,
                                                Ints idot) {
    const Floats d = lanes_of(x.d);
    const Floats isum = _mm256_fmadd_ps(w.s1, _mm256_cvtepi32_ps(idot), first_sum);
    s = _mm256_fmadd_ps(_mm256_mul_ps(w.d, d), isum, s);
    if constexpr (kStep == Step::halves_minimum) {
        const Floats sum0 = _mm256_cvtepi32_ps(load_row(x.half_sum[0]));
        const Floats sum1 = _mm256_cvtepi32_ps(load_row(x.half_sum[1]));
        const Floats imin = _mm256_fmadd_ps(w.m1, sum1, _mm256_fmadd_ps(w.m0, sum0, _mm256_setzero_ps()));
        s = _mm256_fnmadd_ps(_mm256_mul_ps(w.m, d), imin, s);
    }
    return s;
}

// One half of two_floats.
[[gnu::always_inline]] inline Floats add_float_half(Floats s, Floats scale, const LaneRecord& x, Ints idot) {
    return _mm256_fmadd_ps(_mm256_mul_ps(scale, lanes_of(x.d)), _mm256_cvtepi32_ps(idot), s);
}

// ---- the end of a row

// Computes ((((((s0+s1)+s2)+s3)+s4)+s5)+s6)+s7 of four rows: a 4 x 4 transposition of each half, then sums in order.
[[gnu::always_inline]] inline __m128 strand_totals(Floats r0, Floats r1, Floats r2, Floats r3) {
    const Floats a = _mm256_unpacklo_ps(r0, r1), b = _mm256_unpackhi_ps(r0, r1);
    const Floats c = _mm256_unpacklo_ps(r2, r3), d = _mm256_unpackhi_ps(r2, r3);
    const Floats s04 = _mm256_shuffle_ps(a, c, 0x44), s15 = _mm256_shuffle_ps(a, c, 0xEE);
    const Floats s26 = _mm256_shuffle_ps(b, d, 0x44), s37 = _mm256_shuffle_ps(b, d, 0xEE);
    __m128 sum = _mm_add_ps(_mm256_castps256_ps128(s04), _mm256_castps256_ps128(s15));
    sum = _mm_add_ps(sum, _mm256_castps256_ps128(s26));
    sum = _mm_add_ps(sum, _mm256_castps256_ps128(s37));
    sum = _mm_add_ps(sum, _mm256_extractf128_ps(s04, 1));
    sum = _mm_add_ps(sum, _mm256_extractf128_ps(s15, 1));
    sum = _mm_add_ps(sum, _mm256_extractf128_ps(s26, 1));
    return _mm_add_ps(sum, _mm256_extractf128_ps(s37, 1));
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
    float* const out = p.out + token * p.out_stride + 4 * group;
    const int left = p.rows - 4 * group < 4 ? static_cast<int>(p.rows - 4 * group) : 4;
    const __m128i mask = _mm_cmpgt_epi32(_mm_set1_epi32(left), _mm_setr_epi32(0, 1, 2, 3));
    _mm_maskstore_ps(out, mask, y);
}

}  // namespace
}  // namespace invar
