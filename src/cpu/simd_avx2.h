// Eight binary32 lanes, as the vocabulary that the vector bodies are written in (row_kernels_body.h,
// attention_kernels_body.h, float_products_body.h); simd_avx512.h defines the same with sixteen lanes. Only *_avx2.cpp
// include it. Everything is in an unnamed namespace, so that no copy of a function compiled for AVX2 is shared with
// files that run on other machines.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace invar {
namespace {

using Floats = __m256;
constexpr int kLanes = 8;
constexpr int kAttentionQueries = 2;  // x 4 registers of keys or values = 8 accumulators
constexpr int kProductTokens = 2;     // x 4 rows = 8 accumulators

inline __m256i lane_numbers() { return _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7); }
inline __m256i first_lanes(int64_t count) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(count)), lane_numbers());
}

inline Floats broadcast(float x) { return _mm256_set1_ps(x); }
inline Floats load(const float* p) { return _mm256_loadu_ps(p); }
// Lanes from `count` on (0 < count <= kLanes) are +0, and are not read.
inline Floats load_first(const float* p, int64_t count) { return _mm256_maskload_ps(p, first_lanes(count)); }
inline void store(float* p, Floats x) { _mm256_storeu_ps(p, x); }
inline void store_first(float* p, Floats x, int64_t count) { _mm256_maskstore_ps(p, first_lanes(count), x); }

inline Floats add(Floats a, Floats b) { return _mm256_add_ps(a, b); }
inline Floats subtract(Floats a, Floats b) { return _mm256_sub_ps(a, b); }
inline Floats multiply(Floats a, Floats b) { return _mm256_mul_ps(a, b); }
inline Floats divide(Floats a, Floats b) { return _mm256_div_ps(a, b); }
inline Floats fma(Floats a, Floats b, Floats c) { return _mm256_fmadd_ps(a, b, c); }
inline Floats negated_fma(Floats a, Floats b, Floats c) { return _mm256_fnmadd_ps(a, b, c); }        // -(a b) + c
inline Floats fma_minus(Floats a, Floats b, Floats c) { return _mm256_fmsub_ps(a, b, c); }           // a b - c
inline Floats negated_fma_minus(Floats a, Floats b, Floats c) { return _mm256_fnmsub_ps(a, b, c); }  // -(a b) - c
inline Floats negate(Floats x) { return _mm256_xor_ps(x, _mm256_set1_ps(-0.0f)); }
inline Floats magnitude(Floats x) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), x); }
inline Floats with_sign_of(Floats x, Floats sign) {
    const __m256 bit = _mm256_set1_ps(-0.0f);
    return _mm256_or_ps(_mm256_andnot_ps(bit, x), _mm256_and_ps(bit, sign));
}
// a > b ? a : b and a < b ? a : b; b where either is a NaN.
inline Floats larger(Floats a, Floats b) { return _mm256_max_ps(a, b); }
inline Floats smaller(Floats a, Floats b) { return _mm256_min_ps(a, b); }
inline float largest_of(Floats x) {
    __m128 half = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    half = _mm_max_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_max_ss(half, _mm_movehdup_ps(half)));
}
// Lanes added in halves, the lower to the upper, as the reduce law folds them.
inline float folded(Floats x) {
    __m128 half = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    half = _mm_add_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_add_ss(half, _mm_movehdup_ps(half)));
}
// a > b ? yes : no and a < b ? yes : no; `no` where either is a NaN.
inline Floats where_greater(Floats a, Floats b, Floats yes, Floats no) {
    return _mm256_blendv_ps(no, yes, _mm256_cmp_ps(a, b, _CMP_GT_OQ));
}
inline Floats where_less(Floats a, Floats b, Floats yes, Floats no) {
    return _mm256_blendv_ps(no, yes, _mm256_cmp_ps(a, b, _CMP_LT_OQ));
}
// Whether a < b in every lane; a NaN is not.
inline bool all_less(Floats a, Floats b) { return _mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_LT_OQ)) == 0xFF; }
// Lanes first .. last - 1 of a register whose lane 0 is number `base` keep their value, the others become `other`.
inline Floats keep_lanes(Floats x, int base, int first, int last, float other) {
    const __m256i lane = _mm256_add_epi32(_mm256_set1_epi32(base), lane_numbers());
    const __m256i dropped = _mm256_or_si256(_mm256_cmpgt_epi32(_mm256_set1_epi32(first), lane),
                                            _mm256_cmpgt_epi32(lane, _mm256_set1_epi32(last - 1)));
    return _mm256_blendv_ps(x, _mm256_set1_ps(other), _mm256_castsi256_ps(dropped));
}

// 2^n and 2^-n, as scale_by_power takes them, for n of `shifted` = n + 1.5 * 2^23: the exponent and twice its bias, so
// that both halves come out with theirs.
using Power = __m256i;
inline Power power_of(Floats shifted, Floats) {
    return _mm256_sub_epi32(_mm256_castps_si256(shifted), _mm256_set1_epi32(0x4b400000 - 2 * 127));
}
inline Power inverse_power_of(Floats shifted, Floats) {
    return _mm256_sub_epi32(_mm256_set1_epi32(0x4b400000 + 2 * 127), _mm256_castps_si256(shifted));
}
// x * 2^(n >> 1) * 2^(n - (n >> 1)), of which only the last product can round: one rounding of x 2^n.
inline Floats scale_by_power(Floats x, Power power) {
    const __m256i half = _mm256_srai_epi32(power, 1);
    const Floats factor = _mm256_castsi256_ps(_mm256_slli_epi32(half, 23));
    const Floats other = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_sub_epi32(power, half), 23));
    return multiply(multiply(x, factor), other);
}

// 2^-n itself where it is a normal number, |n| < 127, which takes fewer operations than scale_by_power's two factors.
constexpr bool kNormalPowersAreCheaper = true;
inline Floats normal_inverse_power(Floats shifted) {
    const __m256i exponent = _mm256_sub_epi32(_mm256_set1_epi32(0x4b400000 + 127), _mm256_castps_si256(shifted));
    return _mm256_castsi256_ps(_mm256_slli_epi32(exponent, 23));
}

inline bool any_non_finite(Floats x) {
    const __m256i exponent = _mm256_set1_epi32(0x7F800000);
    const __m256i equal = _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_castps_si256(x), exponent), exponent);
    return _mm256_movemask_ps(_mm256_castsi256_ps(equal)) != 0;
}

// Eight elements of the cache or of a weight row, widened exactly.
inline Floats load_f16(const uint16_t* p) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
inline Floats load_bf16(const uint16_t* p) {
    const __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
    return _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
}
// p[0] four times, p[1] four times.
inline Floats load_fours(const float* p) { return _mm256_set_m128(_mm_set1_ps(p[1]), _mm_set1_ps(p[0])); }
// Eight elements rounded to nearest even.
inline void store_f16(uint16_t* p, Floats x) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
inline void store_bf16(uint16_t* p, Floats x) {
    const __m256i bits = _mm256_castps_si256(x);
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    const __m256i rounded =
        _mm256_srli_epi32(_mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7FFF)), odd), 16);
    const __m256i quiet = _mm256_or_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(0x40));
    const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q));
    const __m256i chosen = _mm256_blendv_epi8(rounded, quiet, nan);  // below 2^16: packing does not saturate
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p),
                     _mm_packus_epi32(_mm256_castsi256_si128(chosen), _mm256_extracti128_si256(chosen, 1)));
}

// (p0, p0, p1, p1, p2, p2, p3, p3)
inline Floats load_doubled(const float* p) {
    return _mm256_permutevar8x32_ps(_mm256_castps128_ps256(_mm_loadu_ps(p)), _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3));
}
inline Floats swap_neighbours(Floats x) { return _mm256_permute_ps(x, 0xB1); }
// (-x0, x1, -x2, x3, ...)
inline Floats negate_even(Floats x) {
    return _mm256_castsi256_ps(
        _mm256_xor_si256(_mm256_castps_si256(x), _mm256_set1_epi64x(static_cast<int64_t>(0x80000000u))));
}

// columns[k] = p[k], p[4 + k], ..., p[28 + k]
inline void load_columns_of_four(const float* p, Floats (&columns)[4]) {
    const __m256 a = load(p), b = load(p + 8), c = load(p + 16), d = load(p + 24);
    const __m256 rows04 = _mm256_permute2f128_ps(a, c, 0x20), rows15 = _mm256_permute2f128_ps(a, c, 0x31);
    const __m256 rows26 = _mm256_permute2f128_ps(b, d, 0x20), rows37 = _mm256_permute2f128_ps(b, d, 0x31);
    const __m256 low = _mm256_unpacklo_ps(rows04, rows15), high = _mm256_unpackhi_ps(rows04, rows15);
    const __m256 low2 = _mm256_unpacklo_ps(rows26, rows37), high2 = _mm256_unpackhi_ps(rows26, rows37);
    columns[0] = _mm256_shuffle_ps(low, low2, 0x44);
    columns[1] = _mm256_shuffle_ps(low, low2, 0xEE);
    columns[2] = _mm256_shuffle_ps(high, high2, 0x44);
    columns[3] = _mm256_shuffle_ps(high, high2, 0xEE);
}

// Eight strands of one token for each row a register holds: here one.
inline Floats load_strands(const float* p) { return _mm256_loadu_ps(p); }

}  // namespace
}  // namespace invar
