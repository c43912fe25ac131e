// Stores the scales of four rows' blocks as record.h says (ScaleForm). Only pack_records_avx2.cpp, which is compiled
// for AVX2, includes it.
#pragma once

#include "layout/pack_codes_ymm.h"

namespace invar {
namespace {

// The place of a record's scales, and the four rows' blocks.
template <class Block>
struct ScaleWork {
    const Block* rows[4];
    uint8_t* line;
    uint8_t* side;
};

// f16 (and f16_minimum): eight d of each row.
template <class Block>
INVAR_INLINE void store_f16_scales(const ScaleWork<Block>& work) {
    for (int r = 0; r < 4; ++r) {
        INVAR_UNROLL for (int b = 0; b < 8; ++b) {
            std::memcpy(work.line + 16 * r + 2 * b, &work.rows[r][b].d, 2);
            if constexpr (kHasMinimum<Block>) std::memcpy(work.line + 64 + 16 * r + 2 * b, &work.rows[r][b].m, 2);
        }
    }
}

// The 12 bits of each block, as eight u16.
INVAR_INLINE Xmm six_bit_lanes(const q4_k::PackedScales& scales) {
    const uint32_t a = load_u32(scales.bytes), b = load_u32(scales.bytes + 4), c = load_u32(scales.bytes + 8);
    const uint32_t scale_low = a & 0x3F3F3F3Fu, minimum_low = b & 0x3F3F3F3Fu;
    const uint32_t scale_high = (c & 0x0F0F0F0Fu) | (a >> 6 & 0x03030303u) << 4;
    const uint32_t minimum_high = (c >> 4 & 0x0F0F0F0Fu) | (b >> 6 & 0x03030303u) << 4;
    const Xmm lanes = _mm_setr_epi32(static_cast<int>(scale_low), static_cast<int>(scale_high),
                                     static_cast<int>(minimum_low), static_cast<int>(minimum_high));
    return _mm_or_si128(_mm_cvtepu8_epi16(lanes), _mm_slli_epi16(_mm_unpackhi_epi8(lanes, _mm_setzero_si128()), 6));
}

INVAR_INLINE Xmm six_bit_lanes(const q4_k::Block& block) { return six_bit_lanes(block.scales); }
INVAR_INLINE Xmm six_bit_lanes(const q5_k::Block& block) { return six_bit_lanes(block.scales); }

INVAR_INLINE Xmm six_bit_lanes(const q3_k::Block& block) {  // two halves of a block side by side
    const Xmm bytes = _mm_loadl_epi64(reinterpret_cast<const Xmm*>(block.scales));
    const Xmm lows = _mm_and_si128(_mm_unpacklo_epi64(bytes, _mm_srli_epi16(bytes, 4)), _mm_set1_epi8(15));
    const Xmm copies = _mm_set1_epi32(static_cast<int>(load_u32(block.scales + 8)));
    const Xmm tops = _mm_and_si128(_mm_srlv_epi32(copies, _mm_setr_epi32(0, 2, 4, 6)), _mm_set1_epi8(3));
    const Xmm scales = _mm_or_si128(lows, _mm_slli_epi16(tops, 4));
    return _mm_or_si128(_mm_and_si128(scales, _mm_set1_epi16(63)), _mm_slli_epi16(_mm_srli_epi16(scales, 8), 6));
}

template <class Block>
INVAR_INLINE void store_six_bit_scales(const ScaleWork<Block>& work) {
    const Ymm first = both(six_bit_lanes(*work.rows[0]), six_bit_lanes(*work.rows[1]));
    const Ymm second = both(six_bit_lanes(*work.rows[2]), six_bit_lanes(*work.rows[3]));
    store32(work.line, _mm256_or_si256(first, _mm256_slli_epi16(second, 12)));
    const Ymm high = _mm256_srli_epi16(second, 4);
    store16(work.line + 32, _mm_packus_epi16(_mm256_castsi256_si128(high), _mm256_extracti128_si256(high, 1)));
    for (int r = 0; r < 4; ++r) {
        std::memcpy(work.line + 48 + 2 * r, &work.rows[r]->d, 2);
        if constexpr (requires(Block b) { b.dmin; }) {
            std::memcpy(work.line + 56 + 2 * r, &work.rows[r]->dmin, 2);
        } else {
            std::memset(work.line + 56 + 2 * r, 0, 2);
        }
    }
}

// Stores 16 bytes of a row, one per half block: half 0 of the eight blocks, then half 1 in the other quarter of the
// line.
INVAR_INLINE void store_halves(Xmm scales, int r, uint8_t* line) {
    const Xmm apart = _mm_shuffle_epi8(scales, _mm_setr_epi8(0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15));
    uint8_t* const at = line + 32 * (r / 2) + 8 * (r % 2);
    _mm_storel_epi64(reinterpret_cast<Xmm*>(at), apart);
    _mm_storel_epi64(reinterpret_cast<Xmm*>(at + 16), _mm_unpackhi_epi64(apart, apart));
}

INVAR_INLINE void store_scales(const ScaleWork<q2_k::Block>& work) {  // the byte in the file: scale low, minimum high
    for (int r = 0; r < 4; ++r) {
        store_halves(load16(work.rows[r]->scales), r, work.line);
        std::memcpy(work.side + 2 * r, &work.rows[r]->d, 2);
        std::memcpy(work.side + 8 + 2 * r, &work.rows[r]->dmin, 2);
    }
}

INVAR_INLINE void store_scales(const ScaleWork<q6_k::Block>& work) {
    for (int r = 0; r < 4; ++r) {
        store_halves(load16(reinterpret_cast<const uint8_t*>(work.rows[r]->scales)), r, work.line);
        std::memcpy(work.side + 2 * r, &work.rows[r]->d, 2);
    }
}

INVAR_INLINE void store_scales(const ScaleWork<nvfp4::Block>& work) {
    for (int r = 0; r < 4; ++r) {
        const nvfp4::Block* row = work.rows[r];
        const Xmm scales =
            _mm_setr_epi32(static_cast<int>(load_u32(row[0].scales)), static_cast<int>(load_u32(row[1].scales)),
                           static_cast<int>(load_u32(row[2].scales)), static_cast<int>(load_u32(row[3].scales)));
        store_halves(scales, r, work.line);
    }
}

INVAR_INLINE void store_scales(const ScaleWork<mxfp4::Block>& work) {
    for (int r = 0; r < 4; ++r) {
        INVAR_UNROLL for (int b = 0; b < 8; ++b) work.side[8 * r + b] = work.rows[r][b].e;
    }
}

INVAR_INLINE void store_scales(const ScaleWork<iq4_xs::Block>& work) {
    for (int b = 0; b < 8; ++b) {
        uint8_t six[4];
        for (int r = 0; r < 4; ++r) {
            const iq4_xs::Block& block = *work.rows[r];
            const int low = block.scale_lows[b / 2] >> (4 * (b % 2)) & 15;
            six[r] = static_cast<uint8_t>(low | (block.scale_tops[b / 4] >> (2 * (b % 4)) & 3) << 4);
        }
        work.side[b] = static_cast<uint8_t>(six[0] | six[2] << 6);
        work.side[8 + b] = static_cast<uint8_t>(six[1] | six[3] << 6);
        work.side[16 + b] = static_cast<uint8_t>(six[2] >> 2 | (six[3] >> 2) << 4);
    }
    for (int r = 0; r < 4; ++r) std::memcpy(work.side + 24 + 2 * r, &work.rows[r]->d, 2);
}

INVAR_INLINE void store_scales(const ScaleWork<q4_k::Block>& work) { store_six_bit_scales(work); }
INVAR_INLINE void store_scales(const ScaleWork<q5_k::Block>& work) { store_six_bit_scales(work); }
INVAR_INLINE void store_scales(const ScaleWork<q3_k::Block>& work) { store_six_bit_scales(work); }
template <class Block>
INVAR_INLINE void store_scales(const ScaleWork<Block>& work) requires(kHasHalves<Block>) {
    store_f16_scales(work);
}
INVAR_INLINE void store_scales(const ScaleWork<q8_0::Block>& work) { store_f16_scales(work); }
INVAR_INLINE void store_scales(const ScaleWork<int4_g32::Block>& work) { store_f16_scales(work); }  // bf16 alike

template <class Block>
INVAR_INLINE void store_scales_of_128(const ScaleWork<Block>& work) {
    for (int r = 0; r < 4; ++r) {
        for (int half = 0; half < 2; ++half) std::memcpy(work.side + 4 * r + 2 * half, &work.rows[r][half].d, 2);
    }
}
INVAR_INLINE void store_scales(const ScaleWork<int4_g128::Block>& work) { store_scales_of_128(work); }
INVAR_INLINE void store_scales(const ScaleWork<int4_g128_f16::Block>& work) { store_scales_of_128(work); }

}  // namespace
}  // namespace invar
