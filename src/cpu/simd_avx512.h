// Sixteen binary32 lanes, as the vocabulary that the vector bodies are written in (row_kernels_body.h,
// attention_kernels_body.h, float_products_body.h); simd_avx2.h defines the same with eight lanes. Only *_avx512.cpp
// include it. Everything is in an unnamed namespace, so that no copy of a function compiled for AVX-512 is shared with
// files that run on other machines.
#pragma once

#if defined(__GNUC__) && !defined(__clang__)  // GCC 12 warns of "__Y" inside its own avx512fintrin.h wherever an
                                              // intrinsic is inlined (GCC bug 105593)
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

#include <immintrin.h>

#include <cstdint>

namespace invar {
namespace {

using Floats = __m512;
constexpr int kLanes = 16;
constexpr int kAttentionQueries = 4;  // x 4 registers of keys or values = 16 accumulators
constexpr int kProductTokens = 8;     // x 2 row pairs = 16 accumulators

inline __mmask16 first_lanes(int64_t count) { return static_cast<__mmask16>((1u << count) - 1); }

inline Floats broadcast(float x) { return _mm512_set1_ps(x); }
inline Floats load(const float* p) { return _mm512_loadu_ps(p); }
// Lanes from `count` on (0 < count <= kLanes) are +0, and are not read.
inline Floats load_first(const float* p, int64_t count) { return _mm512_maskz_loadu_ps(first_lanes(count), p); }
inline void store(float* p, Floats x) { _mm512_storeu_ps(p, x); }
inline void store_first(float* p, Floats x, int64_t count) { _mm512_mask_storeu_ps(p, first_lanes(count), x); }

inline Floats add(Floats a, Floats b) { return _mm512_add_ps(a, b); }
inline Floats subtract(Floats a, Floats b) { return _mm512_sub_ps(a, b); }
inline Floats multiply(Floats a, Floats b) { return _mm512_mul_ps(a, b); }
inline Floats divide(Floats a, Floats b) { return _mm512_div_ps(a, b); }
inline Floats fma(Floats a, Floats b, Floats c) { return _mm512_fmadd_ps(a, b, c); }
inline Floats negated_fma(Floats a, Floats b, Floats c) { return _mm512_fnmadd_ps(a, b, c); }        // -(a b) + c
inline Floats fma_minus(Floats a, Floats b, Floats c) { return _mm512_fmsub_ps(a, b, c); }           // a b - c
inline Floats negated_fma_minus(Floats a, Floats b, Floats c) { return _mm512_fnmsub_ps(a, b, c); }  // -(a b) - c
inline Floats negate(Floats x) { return _mm512_xor_ps(x, _mm512_set1_ps(-0.0f)); }
inline Floats magnitude(Floats x) { return _mm512_abs_ps(x); }
inline Floats with_sign_of(Floats x, Floats sign) {
    const __m512i bit = _mm512_set1_epi32(static_cast<int>(0x80000000u));
    return _mm512_castsi512_ps(_mm512_ternarylogic_epi32(bit, _mm512_castps_si512(sign), _mm512_castps_si512(x), 0xCA));
}
// a > b ? a : b and a < b ? a : b; b where either is a NaN.
inline Floats larger(Floats a, Floats b) { return _mm512_max_ps(a, b); }
inline Floats smaller(Floats a, Floats b) { return _mm512_min_ps(a, b); }
inline float largest_of(Floats x) { return _mm512_reduce_max_ps(x); }
// Lanes added in halves, the lower to the upper, as the reduce law folds them.
inline float folded(Floats x) {
    const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1));
    __m128 half = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    half = _mm_add_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_add_ss(half, _mm_movehdup_ps(half)));
}
// a > b ? yes : no and a < b ? yes : no; `no` where either is a NaN.
inline Floats where_greater(Floats a, Floats b, Floats yes, Floats no) {
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_GT_OQ), no, yes);
}
inline Floats where_less(Floats a, Floats b, Floats yes, Floats no) {
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), no, yes);
}
// Whether a < b in every lane; a NaN is not.
inline bool all_less(Floats a, Floats b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ) == 0xFFFF; }
// Lanes first .. last - 1 of a register whose lane 0 is number `base` keep their value, the others become `other`.
inline Floats keep_lanes(Floats x, int base, int first, int last, float other) {
    const __m512i lane = _mm512_add_epi32(_mm512_set1_epi32(base),
                                          _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
    const __mmask16 kept = _mm512_cmpge_epi32_mask(lane, _mm512_set1_epi32(first)) &
                           _mm512_cmplt_epi32_mask(lane, _mm512_set1_epi32(last));
    return _mm512_mask_blend_ps(kept, _mm512_set1_ps(other), x);
}

// 2^n and 2^-n, as scale_by_power takes them, for n of `shifted` = n + 1.5 * 2^23.
using Power = Floats;
inline Power power_of(Floats, Floats n) { return n; }
inline Power inverse_power_of(Floats, Floats n) { return subtract(broadcast(0.0f), n); }
// x * 2^(n >> 1) * 2^(n - (n >> 1)), of which only the last product can round: one rounding of x 2^n.
inline Floats scale_by_power(Floats x, Power power) { return _mm512_scalef_ps(x, power); }

// 2^-n itself where it is a normal number, |n| < 127. scale_by_power is one operation and needs no such case.
constexpr bool kNormalPowersAreCheaper = false;
inline Floats normal_inverse_power(Floats shifted) {
    const __m512i exponent = _mm512_sub_epi32(_mm512_set1_epi32(0x4b400000 + 127), _mm512_castps_si512(shifted));
    return _mm512_castsi512_ps(_mm512_slli_epi32(exponent, 23));
}

inline bool any_non_finite(Floats x) {
    const __m512i exponent = _mm512_set1_epi32(0x7F800000);
    return _mm512_cmpeq_epi32_mask(_mm512_and_si512(_mm512_castps_si512(x), exponent), exponent) != 0;
}

// Sixteen elements of the cache or of a weight row, widened exactly.
inline Floats load_f16(const uint16_t* p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
inline Floats load_bf16(const uint16_t* p) {
    const __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
    return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}
// p[0] four times, p[1] four times, and again.
inline Floats load_fours(const float* p) {
    return _mm512_permutexvar_ps(
        _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1, 1),
        _mm512_castps128_ps512(_mm_castsi128_ps(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)))));
}
// Sixteen elements rounded to nearest even.
inline void store_f16(uint16_t* p, Floats x) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p),
                        _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
inline void store_bf16(uint16_t* p, Floats x) {
    const __m512i bits = _mm512_castps_si512(x);
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    const __m512i rounded =
        _mm512_srli_epi32(_mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7FFF)), odd), 16);
    const __m512i quiet = _mm512_or_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(0x40));
    const __mmask16 nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p),
                        _mm512_cvtepi32_epi16(_mm512_mask_blend_epi32(nan, rounded, quiet)));
}

// (p0, p0, p1, p1, ..., p7, p7)
inline Floats load_doubled(const float* p) {
    return _mm512_permutexvar_ps(_mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7),
                                 _mm512_castps256_ps512(_mm256_loadu_ps(p)));
}
inline Floats swap_neighbours(Floats x) { return _mm512_permute_ps(x, 0xB1); }
// (-x0, x1, -x2, x3, ...)
inline Floats negate_even(Floats x) {
    return _mm512_castsi512_ps(
        _mm512_xor_si512(_mm512_castps_si512(x), _mm512_set1_epi64(static_cast<int64_t>(0x80000000u))));
}

// columns[k] = p[k], p[4 + k], ..., p[60 + k]
inline void load_columns_of_four(const float* p, Floats (&columns)[4]) {
    const __m512i first_two = _mm512_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28, 1, 5, 9, 13, 17, 21, 25, 29);
    const __m512i last_two = _mm512_add_epi32(first_two, _mm512_set1_epi32(2));
    const __m512 a = load(p), b = load(p + 16), c = load(p + 32), d = load(p + 48);
    const __m512 low = _mm512_permutex2var_ps(a, first_two, b), high = _mm512_permutex2var_ps(c, first_two, d);
    columns[0] = _mm512_shuffle_f32x4(low, high, 0x44);
    columns[1] = _mm512_shuffle_f32x4(low, high, 0xEE);
    const __m512 low2 = _mm512_permutex2var_ps(a, last_two, b), high2 = _mm512_permutex2var_ps(c, last_two, d);
    columns[2] = _mm512_shuffle_f32x4(low2, high2, 0x44);
    columns[3] = _mm512_shuffle_f32x4(low2, high2, 0xEE);
}

// Eight strands of one token for each row a register holds: here two.
inline Floats load_strands(const float* p) { return _mm512_broadcast_f32x8(_mm256_loadu_ps(p)); }

}  // namespace
}  // namespace invar
