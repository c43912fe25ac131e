// Equals quantize_row (arithmetic/quantize.h) bit for bit. It handles 256 columns at a time, eight blocks side by side
// in lanes: one division of each kind serves eight blocks. cvtps2dq rounds to nearest even, as rint does.
#include "cpu/activations.h"

#include <immintrin.h>

#include "base/unroll.h"

namespace invar {
namespace {

constexpr int kColumns = 256;

// Lane b becomes the largest of the 8 (unsigned) lanes of rows[b].
__attribute__((always_inline)) inline __m256i largest_of_each(const __m256i rows[8]) {
    __m256i pairs[4], quads[2];
    INVAR_UNROLL for (int i = 0; i < 4; ++i) {
        pairs[i] = _mm256_max_epu32(_mm256_unpacklo_epi32(rows[2 * i], rows[2 * i + 1]),
                                    _mm256_unpackhi_epi32(rows[2 * i], rows[2 * i + 1]));
    }
    INVAR_UNROLL for (int i = 0; i < 2; ++i) {
        quads[i] = _mm256_max_epu32(_mm256_unpacklo_epi64(pairs[2 * i], pairs[2 * i + 1]),
                                    _mm256_unpackhi_epi64(pairs[2 * i], pairs[2 * i + 1]));
    }
    return _mm256_max_epu32(_mm256_permute2x128_si256(quads[0], quads[1], 0x20),
                            _mm256_permute2x128_si256(quads[0], quads[1], 0x31));
}

// Transposes 8 x 8 int32.
__attribute__((always_inline)) inline void transpose(const __m256i rows[8], __m256i columns[8]) {
    __m256i pairs[8], quads[8];
    INVAR_UNROLL for (int i = 0; i < 4; ++i) {
        pairs[2 * i] = _mm256_unpacklo_epi32(rows[2 * i], rows[2 * i + 1]);
        pairs[2 * i + 1] = _mm256_unpackhi_epi32(rows[2 * i], rows[2 * i + 1]);
    }
    INVAR_UNROLL for (int i = 0; i < 2; ++i) {
        quads[4 * i] = _mm256_unpacklo_epi64(pairs[4 * i], pairs[4 * i + 2]);
        quads[4 * i + 1] = _mm256_unpackhi_epi64(pairs[4 * i], pairs[4 * i + 2]);
        quads[4 * i + 2] = _mm256_unpacklo_epi64(pairs[4 * i + 1], pairs[4 * i + 3]);
        quads[4 * i + 3] = _mm256_unpackhi_epi64(pairs[4 * i + 1], pairs[4 * i + 3]);
    }
    INVAR_UNROLL for (int i = 0; i < 4; ++i) {
        columns[i] = _mm256_permute2x128_si256(quads[i], quads[4 + i], 0x20);
        columns[4 + i] = _mm256_permute2x128_si256(quads[i], quads[4 + i], 0x31);
    }
}

// Sums each int32 lane's four int8 over four registers.
__attribute__((always_inline)) inline __m256i sum_of_bytes(const __m256i q[4]) {
    const __m256i one8 = _mm256_set1_epi8(1), one16 = _mm256_set1_epi16(1);
    __m256i sum = _mm256_setzero_si256();
    INVAR_UNROLL for (int i = 0; i < 4; ++i) sum = _mm256_add_epi16(sum, _mm256_maddubs_epi16(one8, q[i]));
    return _mm256_madd_epi16(sum, one16);
}

void quantize_record(const float* x, LaneRecord& out) {
    const __m256i magnitude_bits = _mm256_set1_epi32(0x7FFFFFFF);
    __m256i largest[8];
    INVAR_UNROLL for (int b = 0; b < 8; ++b) {
        __m256i m = _mm256_setzero_si256();
        INVAR_UNROLL for (int i = 0; i < 4; ++i) {
            const __m256i bits = _mm256_castps_si256(_mm256_loadu_ps(x + 32 * b + 8 * i));
            m = _mm256_max_epu32(m, _mm256_and_si256(bits, magnitude_bits));
        }
        largest[b] = m;
    }
    const __m256i amax_bits = largest_of_each(largest);
    const __m256 amax = _mm256_castsi256_ps(amax_bits);
    const __m256 non_finite = _mm256_castsi256_ps(_mm256_cmpgt_epi32(amax_bits, _mm256_set1_epi32(0x7F7FFFFF)));
    const __m256 live = _mm256_andnot_ps(non_finite, _mm256_cmp_ps(amax, _mm256_set1_ps(1e-30f), _CMP_GE_OQ));
    const __m256 most = _mm256_set1_ps(127.0f);
    const __m256 d = _mm256_and_ps(live, _mm256_div_ps(amax, most));
    alignas(32) float inverse[8];
    alignas(32) int32_t live_lanes[8];
    _mm256_store_ps(inverse, _mm256_and_ps(live, _mm256_div_ps(most, amax)));
    _mm256_store_si256(reinterpret_cast<__m256i*>(live_lanes), _mm256_castps_si256(live));

    const __m256i dword_order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);  // undoes the packs' crossing of halves
    __m256i blocks[8], q[8];
    INVAR_UNROLL for (int b = 0; b < 8; ++b) {
        const __m256 scale = _mm256_set1_ps(inverse[b]);
        const __m256i keep = _mm256_set1_epi32(live_lanes[b]);
        __m256i v[4];
        INVAR_UNROLL for (int i = 0; i < 4; ++i) {
            v[i] = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + 32 * b + 8 * i), scale));
        }
        const __m256i packed = _mm256_packs_epi16(_mm256_packs_epi32(v[0], v[1]), _mm256_packs_epi32(v[2], v[3]));
        blocks[b] = _mm256_and_si256(keep, _mm256_permutevar8x32_epi32(packed, dword_order));
    }
    transpose(blocks, q);
    INVAR_UNROLL for (int j = 0; j < 8; ++j) _mm256_store_si256(reinterpret_cast<__m256i*>(out.q + 32 * j), q[j]);
    const __m256i sum0 = sum_of_bytes(q), sum1 = sum_of_bytes(q + 4);
    const __m256 sx = _mm256_mul_ps(d, _mm256_cvtepi32_ps(_mm256_add_epi32(sum0, sum1)));
    const __m256 nan = _mm256_castsi256_ps(_mm256_set1_epi32(0x7FC00000));
    _mm256_store_ps(out.d, _mm256_blendv_ps(d, nan, non_finite));
    _mm256_store_ps(out.sx, _mm256_blendv_ps(sx, nan, non_finite));
    _mm256_store_si256(reinterpret_cast<__m256i*>(out.half_sum[0]), sum0);
    _mm256_store_si256(reinterpret_cast<__m256i*>(out.half_sum[1]), sum1);
}

}  // namespace

void prepare_lanes_avx2(const float* x, int64_t columns, LaneRecord* out) {
    int64_t first = 0;
    for (; first + kColumns <= columns; first += kColumns, ++out) quantize_record(x + first, *out);
    if (first == columns) return;
    alignas(32) float padded[kColumns];
    for (int64_t k = 0; k < kColumns; ++k) padded[k] = first + k < columns ? x[first + k] : 0.0f;
    quantize_record(padded, *out);
    for (int64_t b = (columns - first) / 32; b < 8; ++b) out->d[b] = out->sx[b] = -0.0f;
}

}  // namespace invar
