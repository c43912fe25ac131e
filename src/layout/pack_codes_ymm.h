// Loads the codes of a row of 256 columns from the blocks of each format into eight registers, one per block of 32.
// Only pack_records_avx2.cpp, which is compiled for AVX2, includes it. formats/NAME/NAME.h draws the blocks.
#pragma once

#include <immintrin.h>

#include <cstring>

#include "base/unroll.h"
#include "formats/definitions.h"

namespace invar {
namespace {

#define INVAR_INLINE __attribute__((always_inline)) inline

using Ymm = __m256i;
using Xmm = __m128i;

INVAR_INLINE Ymm load32(const uint8_t* at) { return _mm256_loadu_si256(reinterpret_cast<const Ymm*>(at)); }
INVAR_INLINE Xmm load16(const uint8_t* at) { return _mm_loadu_si128(reinterpret_cast<const Xmm*>(at)); }
INVAR_INLINE void store32(uint8_t* at, Ymm value) { _mm256_storeu_si256(reinterpret_cast<Ymm*>(at), value); }
INVAR_INLINE void store16(uint8_t* at, Xmm value) { _mm_storeu_si128(reinterpret_cast<Xmm*>(at), value); }
INVAR_INLINE Ymm both(Xmm low, Xmm high) { return _mm256_set_m128i(high, low); }
INVAR_INLINE Ymm every(int byte) { return _mm256_set1_epi8(static_cast<char>(byte)); }
INVAR_INLINE uint32_t load_u32(const uint8_t* at) {
    uint32_t value = 0;
    std::memcpy(&value, at, 4);
    return value;
}

// Shifts bits by kBy, up or down; the mask, applied first, keeps them within their byte.
template <int kBy>
INVAR_INLINE Ymm moved(Ymm value) {
    if constexpr (kBy > 0) return _mm256_slli_epi16(value, kBy);
    if constexpr (kBy < 0) return _mm256_srli_epi16(value, -kBy);
    return value;
}

// ---- the codes of a row: codes[b] holds block b's 32, unsigned as stored

// 16 bytes: the low nibbles, then the high ones.
INVAR_INLINE Ymm nibbles_of_16(const uint8_t* at) {
    const Xmm bytes = load16(at);
    return _mm256_and_si256(both(bytes, _mm_srli_epi16(bytes, 4)), every(15));
}

// Byte i is 0xFF where bit i of the four bytes is set.
INVAR_INLINE Ymm bytes_of_bits(const uint8_t* at) {
    const Ymm picks = _mm256_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3,
                                       3, 3, 3, 3, 3);
    const Ymm bits = _mm256_set1_epi64x(static_cast<int64_t>(0x8040201008040201u));
    const Ymm copies = _mm256_shuffle_epi8(_mm256_set1_epi32(static_cast<int>(load_u32(at))), picks);
    return _mm256_cmpeq_epi8(_mm256_and_si256(copies, bits), bits);
}

template <class Block>
constexpr bool kHasTops = requires(Block b) {
    b.tops;
};
template <class Block>
constexpr bool kHasMinimum = requires(Block b) {
    b.m;
};

// Blocks of 32 with code j in a low nibble and code j + 16 in the high one.
template <class Block>
constexpr bool kHasHalves = false;
template <>
inline constexpr bool kHasHalves<q4_0::Block> = true;
template <>
inline constexpr bool kHasHalves<q4_1::Block> = true;
template <>
inline constexpr bool kHasHalves<q5_0::Block> = true;
template <>
inline constexpr bool kHasHalves<q5_1::Block> = true;
template <>
inline constexpr bool kHasHalves<iq4_nl::Block> = true;
template <>
inline constexpr bool kHasHalves<mxfp4::Block> = true;

template <class Block>
INVAR_INLINE void split_codes(const Block* blocks, Ymm codes[8]) requires kHasHalves<Block> {
    INVAR_UNROLL for (int b = 0; b < 8; ++b) {
        codes[b] = nibbles_of_16(blocks[b].nibbles);
        if constexpr (kHasTops<Block>) {
            codes[b] = _mm256_or_si256(codes[b], _mm256_and_si256(bytes_of_bits(blocks[b].tops), every(16)));
        }
    }
}

INVAR_INLINE void split_codes(const q8_0::Block* blocks, Ymm codes[8]) {
    INVAR_UNROLL for (int b = 0; b < 8; ++b) {
        codes[b] = _mm256_xor_si256(load32(reinterpret_cast<const uint8_t*>(blocks[b].codes)), every(0x80));
    }
}

// 16 bytes whose nibbles are neighbours.
INVAR_INLINE Ymm neighbours_of_16(const uint8_t* at) {
    const Xmm bytes = load16(at), fifteen = _mm_set1_epi8(15);
    const Xmm even = _mm_and_si128(bytes, fifteen), odd = _mm_and_si128(_mm_srli_epi16(bytes, 4), fifteen);
    return both(_mm_unpacklo_epi8(even, odd), _mm_unpackhi_epi8(even, odd));
}

INVAR_INLINE void split_codes(const int4_g32::Block* blocks, Ymm codes[8]) {
    INVAR_UNROLL for (int b = 0; b < 8; ++b) codes[b] = neighbours_of_16(blocks[b].nibbles);
}
INVAR_INLINE void split_codes(const int4_g128::Block* blocks, Ymm codes[8]) {
    INVAR_UNROLL for (int b = 0; b < 8; ++b) codes[b] = neighbours_of_16(blocks[b / 4].nibbles + 16 * (b % 4));
}
INVAR_INLINE void split_codes(const int4_g128_f16::Block* blocks, Ymm codes[8]) {
    INVAR_UNROLL for (int b = 0; b < 8; ++b) codes[b] = neighbours_of_16(blocks[b / 4].nibbles + 16 * (b % 4));
}

INVAR_INLINE void split_codes(const nvfp4::Block* blocks, Ymm codes[8]) {  // groups of 8 bytes: 8 low, 8 high nibbles
    INVAR_UNROLL for (int b = 0; b < 8; ++b) {
        const Xmm bytes = load16(blocks[b / 2].nibbles + 16 * (b % 2)), high = _mm_srli_epi16(bytes, 4);
        codes[b] = _mm256_and_si256(both(_mm_unpacklo_epi64(bytes, high), _mm_unpackhi_epi64(bytes, high)), every(15));
    }
}

INVAR_INLINE void split_codes(const iq4_xs::Block* block, Ymm codes[8]) {
    INVAR_UNROLL for (int b = 0; b < 8; ++b) codes[b] = nibbles_of_16(block->nibbles + 16 * b);
}

INVAR_INLINE void split_pairs(const uint8_t nibbles[128], Ymm codes[8]) {  // Q4_K, Q5_K
    INVAR_UNROLL for (int p = 0; p < 4; ++p) {
        const Ymm bytes = load32(nibbles + 32 * p);
        codes[2 * p] = _mm256_and_si256(bytes, every(15));
        codes[2 * p + 1] = _mm256_and_si256(_mm256_srli_epi16(bytes, 4), every(15));
    }
}

// Adds bit b of each byte of tops to codes[b] at bit kTo.
template <int kTo, int kBlock = 0>
INVAR_INLINE void add_tops(Ymm tops, Ymm codes[8]) {
    codes[kBlock] = _mm256_or_si256(codes[kBlock], _mm256_and_si256(moved<kTo - kBlock>(tops), every(1 << kTo)));
    if constexpr (kBlock < 7) add_tops<kTo, kBlock + 1>(tops, codes);
}

INVAR_INLINE void split_codes(const q4_k::Block* block, Ymm codes[8]) { split_pairs(block->nibbles, codes); }

INVAR_INLINE void split_codes(const q5_k::Block* block, Ymm codes[8]) {
    split_pairs(block->nibbles, codes);
    add_tops<4>(load32(block->tops), codes);
}

// Bits 2t, 2t + 1 of 32 bytes as the bits kTo, kTo + 1 of four blocks.
template <int kTo>
INVAR_INLINE void split_crumbs(const uint8_t* at, Ymm crumbs[4]) {
    const Ymm bytes = load32(at), mask = every(3 << kTo);
    crumbs[0] = _mm256_and_si256(moved<kTo>(bytes), mask);
    crumbs[1] = _mm256_and_si256(moved<kTo - 2>(bytes), mask);
    crumbs[2] = _mm256_and_si256(moved<kTo - 4>(bytes), mask);
    crumbs[3] = _mm256_and_si256(moved<kTo - 6>(bytes), mask);
}

INVAR_INLINE void split_codes(const q2_k::Block* block, Ymm codes[8]) {
    split_crumbs<0>(block->codes, codes);
    split_crumbs<0>(block->codes + 32, codes + 4);
}

INVAR_INLINE void split_codes(const q3_k::Block* block, Ymm codes[8]) {
    split_crumbs<0>(block->lows, codes);
    split_crumbs<0>(block->lows + 32, codes + 4);
    add_tops<2>(load32(block->tops), codes);
}

INVAR_INLINE void split_codes(const q6_k::Block* block, Ymm codes[8]) {
    split_crumbs<4>(block->tops, codes);
    split_crumbs<4>(block->tops + 32, codes + 4);
    INVAR_UNROLL for (int i = 0; i < 4; ++i) {  // 64 low nibbles, then 64 high ones
        const Ymm bytes = load32(block->lows + 32 * i);
        const int b = 4 * (i / 2) + i % 2;
        codes[b] = _mm256_or_si256(codes[b], _mm256_and_si256(bytes, every(15)));
        codes[b + 2] = _mm256_or_si256(codes[b + 2], _mm256_and_si256(_mm256_srli_epi16(bytes, 4), every(15)));
    }
}

}  // namespace
}  // namespace invar
