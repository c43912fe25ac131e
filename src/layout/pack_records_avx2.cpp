// Packs as the plain loops of rows4.cpp do, byte for byte. A row of 256 codes is eight registers, one per block of 32;
// the 8 x 8 transposition of their 4-byte words gives the row's half of each line, and a plane of bits is then a few
// shifts of whole registers. One core of Zen 5 packs 10 (Q3_K) to 58 (Q8_0) GB/s of file; the plain loops pack 1 to 7.
#include "layout/pack_records.h"
#include "layout/pack_scales_ymm.h"

namespace invar {
namespace {

// ---- planes

// Turns words j of blocks b into blocks b of words j.
INVAR_INLINE void transpose(const Ymm blocks[8], Ymm groups[8]) {
    Ymm quads[8];  // [4 (b / 4) + j % 4]: words j (low lane) and j + 4 (high lane) of four blocks
    INVAR_UNROLL for (int i = 0; i < 2; ++i) {
        const Ymm* four = blocks + 4 * i;
        const Ymm a = _mm256_unpacklo_epi32(four[0], four[1]), b = _mm256_unpackhi_epi32(four[0], four[1]);
        const Ymm c = _mm256_unpacklo_epi32(four[2], four[3]), d = _mm256_unpackhi_epi32(four[2], four[3]);
        quads[4 * i] = _mm256_unpacklo_epi64(a, c);
        quads[4 * i + 1] = _mm256_unpackhi_epi64(a, c);
        quads[4 * i + 2] = _mm256_unpacklo_epi64(b, d);
        quads[4 * i + 3] = _mm256_unpackhi_epi64(b, d);
    }
    INVAR_UNROLL for (int j = 0; j < 4; ++j) {
        groups[j] = _mm256_permute2x128_si256(quads[j], quads[4 + j], 0x20);
        groups[4 + j] = _mm256_permute2x128_si256(quads[j], quads[4 + j], 0x31);
    }
}

// kCount neighbouring groups of the plane as one register: kBits bits of each code, from bit kFrom on. Position p holds
// group kFirst + p * kStep.
template <int kBits, int kFrom, int kFirst, int kStep, int kPosition = 0>
INVAR_INLINE Ymm line_of(const Ymm groups[8]) {
    const Ymm picked = _mm256_and_si256(groups[kFirst + kPosition * kStep], every(((1 << kBits) - 1) << kFrom));
    const Ymm placed = moved<kBits * kPosition - kFrom>(picked);
    if constexpr (kBits * (kPosition + 1) < 8) {
        return _mm256_or_si256(placed, line_of<kBits, kFrom, kFirst, kStep, kPosition + 1>(groups));
    } else {
        return placed;
    }
}

// `record` + the place of a row within a line.
template <FormatId kFormat>
INVAR_INLINE void store_row_codes(const Ymm groups[8], int pair, uint8_t* place) {
    constexpr RecordLayout kLayout = record_layout(kFormat);
    constexpr int kCrumbsAt = kLayout.crumbs_at(), kCrumbsFrom = kLayout.crumbs_shift();
    constexpr int kBitsAt = kLayout.bits_at(), kBitsFrom = kLayout.bits_shift();
    if constexpr (kLayout.bytes) {
        INVAR_UNROLL for (int j = 0; j < 8; ++j) store32(place + 512 * pair + 64 * j, groups[j]);
    }
    if constexpr (kLayout.nibbles) {
        uint8_t* const lines = place + 256 * pair;
        store32(lines, line_of<4, 0, 0, 4>(groups));
        store32(lines + 64, line_of<4, 0, 1, 4>(groups));
        store32(lines + 128, line_of<4, 0, 2, 4>(groups));
        store32(lines + 192, line_of<4, 0, 3, 4>(groups));
    }
    if constexpr (kLayout.crumbs) {
        uint8_t* const lines = place + kCrumbsAt + 128 * pair;
        store32(lines, line_of<2, kCrumbsFrom, 0, 1>(groups));
        store32(lines + 64, line_of<2, kCrumbsFrom, 4, 1>(groups));
    }
    if constexpr (kLayout.bits) store32(place + kBitsAt + 64 * pair, line_of<1, kBitsFrom, 0, 1>(groups));
}

// ---- records

// The formats whose codes and scales the two ymm headers handle. The plain loops pack the others.
template <class Block>
constexpr bool kHasVectorPacking = requires(const Block* blocks, Ymm* codes, const ScaleWork<Block>& work) {
    split_codes(blocks, codes);
    store_scales(work);
};

template <FormatId kFormat, class Block>
void pack_quantized(const RecordsToPack& work) {
    constexpr RecordLayout kLayout = record_layout(kFormat);
    constexpr int kMain = kLayout.main_bytes(), kSide = kLayout.side_bytes(), kScalesAt = kLayout.scales_at();
    constexpr int kBlocks = kRecordColumns / Block::kWeights;
    uint8_t *main = work.main, *side = work.sides;
    for (int64_t record = 0; record < work.records; ++record, main += kMain, side += kSide) {
        ScaleWork<Block> scales{{}, main + kScalesAt, side};
        for (int r = 0; r < 4; ++r) {
            const Block* const blocks = reinterpret_cast<const Block*>(work.rows[r]) + record * kBlocks;
            Ymm codes[8], groups[8];
            split_codes(blocks, codes);
            transpose(codes, groups);
            store_row_codes<kFormat>(groups, r / 2, main + 32 * (r % 2));
            scales.rows[r] = blocks;
        }
        store_scales(scales);
    }
}

// Element (row r, column 32 b + i) goes to 32 i + 8 r + b.
void pack_words(const RecordsToPack& work) {
    for (int64_t record = 0; record < work.records; ++record) {
        uint8_t* const out = work.main + record * 4096;
        for (int r = 0; r < 4; ++r) {
            const auto* const row = reinterpret_cast<const uint8_t*>(work.rows[r]) + record * 1024;
            for (int i = 0; i < 32; i += 8) {
                Ymm blocks[8], groups[8];
                INVAR_UNROLL for (int b = 0; b < 8; ++b) blocks[b] = load32(row + 128 * b + 4 * i);
                transpose(blocks, groups);
                INVAR_UNROLL for (int j = 0; j < 8; ++j) store32(out + 128 * (i + j) + 32 * r, groups[j]);
            }
        }
    }
}

// Eight words of each of eight blocks: word i of block b goes to word b of the line i, lines 64 bytes apart.
INVAR_INLINE void transpose_words(const Xmm blocks[8], uint8_t* out) {
    Xmm pairs[8], quads[8];  // 8 x 8 of u16
    INVAR_UNROLL for (int p = 0; p < 4; ++p) {
        pairs[p] = _mm_unpacklo_epi16(blocks[2 * p], blocks[2 * p + 1]);      // words 0 to 3
        pairs[4 + p] = _mm_unpackhi_epi16(blocks[2 * p], blocks[2 * p + 1]);  // words 4 to 7
    }
    INVAR_UNROLL for (int q = 0; q < 4; ++q) {  // q: (words 0-3 or 4-7) x (blocks 0-3 or 4-7)
        quads[2 * q] = _mm_unpacklo_epi32(pairs[2 * q], pairs[2 * q + 1]);
        quads[2 * q + 1] = _mm_unpackhi_epi32(pairs[2 * q], pairs[2 * q + 1]);
    }
    INVAR_UNROLL for (int w = 0; w < 4; ++w) {  // words 2 w, 2 w + 1
        const int low = 4 * (w / 2) + w % 2;
        store16(out + 128 * w, _mm_unpacklo_epi64(quads[low], quads[low + 2]));
        store16(out + 128 * w + 64, _mm_unpackhi_epi64(quads[low], quads[low + 2]));
    }
}

void pack_halves(const RecordsToPack& work) {
    for (int64_t record = 0; record < work.records; ++record) {
        for (int r = 0; r < 4; ++r) {
            const auto* const row = reinterpret_cast<const uint8_t*>(work.rows[r]) + record * 512;
            for (int i = 0; i < 32; i += 8) {
                Xmm blocks[8];
                INVAR_UNROLL for (int b = 0; b < 8; ++b) blocks[b] = load16(row + 64 * b + 2 * i);
                transpose_words(blocks, work.main + record * 2048 + 64 * i + 16 * r);
            }
        }
    }
}

// Packs elements of one byte, in blocks of kBlock columns with kScale bytes before them. Two neighbouring elements stay
// together.
template <int kBlock, int kScale>
void pack_bytes(const RecordsToPack& work) {
    constexpr int64_t kRow = 256 / kBlock * (kBlock + kScale);
    for (int64_t record = 0; record < work.records; ++record) {
        for (int r = 0; r < 4; ++r) {
            const auto* const row = reinterpret_cast<const uint8_t*>(work.rows[r]) + record * kRow;
            for (int i = 0; i < 32; i += 16) {
                Xmm blocks[8];
                INVAR_UNROLL for (int b = 0; b < 8; ++b) {
                    blocks[b] = load16(row + 32 * b + (32 * b / kBlock + 1) * kScale + i);
                }
                transpose_words(blocks, work.main + record * 1024 + 32 * i + 16 * r);
            }
        }
    }
}

}  // namespace

bool pack_records_avx2(FormatId format, const RecordsToPack& work) {
    return with_format(format, [&]<FormatId kId>() {
        constexpr Elements kElements = describe(kId).elements;
        if constexpr (kElements == Elements::f32) {
            pack_words(work);
        } else if constexpr (element_bytes(kElements) == 2) {
            pack_halves(work);
        } else if constexpr (kId == FormatId::f8_e4m3) {
            pack_bytes<256, 0>(work);
        } else if constexpr (kId == FormatId::f8_e4m3_b128) {
            pack_bytes<128, 4>(work);
        } else if constexpr (kHasVectorPacking<BlockOf<kId>>) {
            pack_quantized<kId, BlockOf<kId>>(work);
        } else {
            return false;
        }
        return true;
    });
}

}  // namespace invar
