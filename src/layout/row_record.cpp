// Takes the blocks of each format apart and puts them together again, bit for bit. Plain loops of 16 or 32 bytes, which
// the compiler turns into vector code: every weight of a model passes here once at load.
#include "layout/row_record.h"

#include <cstring>

#include "base/check.h"
#include "formats/iq4_nl/iq4_nl.h"
#include "formats/iq4_xs/iq4_xs.h"
#include "formats/mxfp4/mxfp4.h"
#include "formats/nvfp4/nvfp4.h"
#include "formats/q2_k/q2_k.h"
#include "formats/q3_k/q3_k.h"
#include "formats/q4_0/q4_0.h"
#include "formats/q4_1/q4_1.h"
#include "formats/q4_k/q4_k.h"
#include "formats/q5_0/q5_0.h"
#include "formats/q5_1/q5_1.h"
#include "formats/q5_k/q5_k.h"
#include "formats/q6_k/q6_k.h"
#include "formats/q8_0/q8_0.h"

namespace invar {
namespace {

// ---- runs of codes. In the low nibbles of `count` bytes are the first `count` codes, in the high ones the next.

template <int kCount>
void split_nibbles(const uint8_t* nibbles, uint8_t* codes) {
    for (int i = 0; i < kCount; ++i) {
        codes[i] = nibbles[i] & 15;
        codes[kCount + i] = nibbles[i] >> 4;
    }
}

template <int kCount>
void join_nibbles(const uint8_t* codes, uint8_t* nibbles) {
    for (int i = 0; i < kCount; ++i) {
        nibbles[i] = static_cast<uint8_t>((codes[i] & 15) | codes[kCount + i] << 4);
    }
}

// The fifth bits of 32 codes, one bit each in 4 bytes. Eight bits spread to bytes by one product: bit i lands in byte
// i.
void split_tops(const uint8_t tops[4], uint8_t codes[32]) {
    for (int byte = 0; byte < 4; ++byte) {
        const uint64_t copies = tops[byte] * 0x0101010101010101u;
        const uint64_t picked = copies & 0x8040201008040201u;  // byte i keeps bit i
        const uint64_t top = ((picked + 0x7F7F7F7F7F7F7F7Fu) | picked) >> 7 & 0x0101010101010101u;  // not zero -> 1
        uint64_t low = 0;
        std::memcpy(&low, codes + 8 * byte, 8);
        low |= top << 4;
        std::memcpy(codes + 8 * byte, &low, 8);
    }
}

void join_tops(const uint8_t codes[32], uint8_t tops[4]) {
    for (int byte = 0; byte < 4; ++byte) {
        int value = 0;
        for (int i = 0; i < 8; ++i) value |= (codes[8 * byte + i] >> 4 & 1) << i;
        tops[byte] = static_cast<uint8_t>(value);
    }
}

// ---- formats with blocks of 32

template <class Block>
constexpr bool kHasMinimum = requires(Block b) {
    b.m;
};
template <class Block>
constexpr bool kHasTops = requires(Block b) {
    b.tops;
};

template <class Block>
void split_block(const Block& block, int b, RowRecord& row) {
    row.d[b] = block.d.bits();
    if constexpr (kHasMinimum<Block>) row.m[b] = block.m.bits();
    split_nibbles<16>(block.nibbles, row.codes + 32 * b);
    if constexpr (kHasTops<Block>) split_tops(block.tops, row.codes + 32 * b);
}

template <class Block>
void join_block(const RowRecord& row, int b, Block& block) {
    block.d = StoredF16::from_bits(row.d[b]);
    if constexpr (kHasMinimum<Block>) block.m = StoredF16::from_bits(row.m[b]);
    join_nibbles<16>(row.codes + 32 * b, block.nibbles);
    if constexpr (kHasTops<Block>) join_tops(row.codes + 32 * b, block.tops);
}

void split_block(const q8_0::Block& block, int b, RowRecord& row) {
    row.d[b] = block.d.bits();
    for (int i = 0; i < 32; ++i) row.codes[32 * b + i] = static_cast<uint8_t>(block.codes[i] ^ 0x80);
}

void join_block(const RowRecord& row, int b, q8_0::Block& block) {
    block.d = StoredF16::from_bits(row.d[b]);
    for (int i = 0; i < 32; ++i) block.codes[i] = static_cast<int8_t>(row.codes[32 * b + i] ^ 0x80);
}

void split_block(const mxfp4::Block& block, int b, RowRecord& row) {
    row.scale[b] = block.e;
    split_nibbles<16>(block.nibbles, row.codes + 32 * b);
}

void join_block(const RowRecord& row, int b, mxfp4::Block& block) {
    block.e = row.scale[b];
    join_nibbles<16>(row.codes + 32 * b, block.nibbles);
}

// ---- 64 weights

void split_block(const nvfp4::Block& block, int b, RowRecord& row) {
    for (int group = 0; group < 4; ++group) {
        row.scale[4 * b + group] = block.scales[group];
        split_nibbles<8>(block.nibbles + 8 * group, row.codes + 64 * b + 16 * group);
    }
}

void join_block(const RowRecord& row, int b, nvfp4::Block& block) {
    for (int group = 0; group < 4; ++group) {
        block.scales[group] = row.scale[4 * b + group];
        join_nibbles<8>(row.codes + 64 * b + 16 * group, block.nibbles + 8 * group);
    }
}

// ---- 256 weights

void split_scales(const q4_k::PackedScales& scales, RowRecord& row) {
    for (int b = 0; b < 8; ++b) {
        row.scale[b] = static_cast<uint8_t>(scales.scale(b));
        row.minimum[b] = static_cast<uint8_t>(scales.minimum(b));
    }
}

void join_scales(const RowRecord& row, q4_k::PackedScales& scales) {
    for (int b = 0; b < 4; ++b) {
        scales.bytes[b] = static_cast<uint8_t>(row.scale[b] | (row.scale[b + 4] >> 4) << 6);
        scales.bytes[b + 4] = static_cast<uint8_t>(row.minimum[b] | (row.minimum[b + 4] >> 4) << 6);
        scales.bytes[b + 8] = static_cast<uint8_t>((row.scale[b + 4] & 15) | row.minimum[b + 4] << 4);
    }
}

void split_block(const q4_k::Block& block, int, RowRecord& row) {
    row.d[0] = block.d.bits();
    row.m[0] = block.dmin.bits();
    split_scales(block.scales, row);
    for (int p = 0; p < 4; ++p) split_nibbles<32>(block.nibbles + 32 * p, row.codes + 64 * p);
}

void join_block(const RowRecord& row, int, q4_k::Block& block) {
    block.d = StoredF16::from_bits(row.d[0]);
    block.dmin = StoredF16::from_bits(row.m[0]);
    join_scales(row, block.scales);
    for (int p = 0; p < 4; ++p) join_nibbles<32>(row.codes + 64 * p, block.nibbles + 32 * p);
}

void split_block(const q5_k::Block& block, int, RowRecord& row) {
    row.d[0] = block.d.bits();
    row.m[0] = block.dmin.bits();
    split_scales(block.scales, row);
    for (int p = 0; p < 4; ++p) split_nibbles<32>(block.nibbles + 32 * p, row.codes + 64 * p);
    for (int b = 0; b < 8; ++b) {
        for (int i = 0; i < 32; ++i) row.codes[32 * b + i] |= static_cast<uint8_t>((block.tops[i] >> b & 1) << 4);
    }
}

void join_block(const RowRecord& row, int, q5_k::Block& block) {
    block.d = StoredF16::from_bits(row.d[0]);
    block.dmin = StoredF16::from_bits(row.m[0]);
    join_scales(row, block.scales);
    for (int p = 0; p < 4; ++p) join_nibbles<32>(row.codes + 64 * p, block.nibbles + 32 * p);
    std::memset(block.tops, 0, sizeof(block.tops));
    for (int b = 0; b < 8; ++b) {
        for (int i = 0; i < 32; ++i) block.tops[i] |= static_cast<uint8_t>((row.codes[32 * b + i] >> 4 & 1) << b);
    }
}

// Two bits of each code, at bit `shift` of the code: the code of column 128 h + 32 t + i has bits 2t, 2t + 1 of [32 h +
// i].
void add_crumbs(const uint8_t crumbs[64], int shift, uint8_t codes[256]) {
    for (int h = 0; h < 2; ++h) {
        for (int t = 0; t < 4; ++t) {
            for (int i = 0; i < 32; ++i) {
                codes[128 * h + 32 * t + i] |= static_cast<uint8_t>((crumbs[32 * h + i] >> (2 * t) & 3) << shift);
            }
        }
    }
}

void take_crumbs(const uint8_t codes[256], int shift, uint8_t crumbs[64]) {
    std::memset(crumbs, 0, 64);
    for (int h = 0; h < 2; ++h) {
        for (int t = 0; t < 4; ++t) {
            for (int i = 0; i < 32; ++i) {
                crumbs[32 * h + i] |= static_cast<uint8_t>((codes[128 * h + 32 * t + i] >> shift & 3) << (2 * t));
            }
        }
    }
}

void split_block(const q2_k::Block& block, int, RowRecord& row) {
    row.d[0] = block.d.bits();
    row.m[0] = block.dmin.bits();
    for (int k = 0; k < 16; ++k) {
        row.scale[k] = block.scales[k] & 15;
        row.minimum[k] = block.scales[k] >> 4;
    }
    std::memset(row.codes, 0, sizeof(row.codes));
    add_crumbs(block.codes, 0, row.codes);
}

void join_block(const RowRecord& row, int, q2_k::Block& block) {
    block.d = StoredF16::from_bits(row.d[0]);
    block.dmin = StoredF16::from_bits(row.m[0]);
    for (int k = 0; k < 16; ++k) block.scales[k] = static_cast<uint8_t>(row.scale[k] | row.minimum[k] << 4);
    take_crumbs(row.codes, 0, block.codes);
}

void split_block(const q3_k::Block& block, int, RowRecord& row) {
    row.d[0] = block.d.bits();
    for (int k = 0; k < 16; ++k) row.scale[k] = static_cast<uint8_t>(scale(block, k) + 32);
    std::memset(row.codes, 0, sizeof(row.codes));
    add_crumbs(block.lows, 0, row.codes);
    for (int b = 0; b < 8; ++b) {
        for (int i = 0; i < 32; ++i) row.codes[32 * b + i] |= static_cast<uint8_t>((block.tops[i] >> b & 1) << 2);
    }
}

void join_block(const RowRecord& row, int, q3_k::Block& block) {
    block.d = StoredF16::from_bits(row.d[0]);
    std::memset(block.scales, 0, sizeof(block.scales));
    for (int k = 0; k < 16; ++k) {
        block.scales[k % 8] |= static_cast<uint8_t>((row.scale[k] & 15) << (k < 8 ? 0 : 4));
        block.scales[8 + k % 4] |= static_cast<uint8_t>((row.scale[k] >> 4) << (2 * (k / 4)));
    }
    take_crumbs(row.codes, 0, block.lows);
    std::memset(block.tops, 0, sizeof(block.tops));
    for (int b = 0; b < 8; ++b) {
        for (int i = 0; i < 32; ++i) block.tops[i] |= static_cast<uint8_t>((row.codes[32 * b + i] >> 2 & 1) << b);
    }
}

void split_block(const q6_k::Block& block, int, RowRecord& row) {
    row.d[0] = block.d.bits();
    std::memcpy(row.scale, block.scales, 16);
    for (int h = 0; h < 2; ++h) split_nibbles<64>(block.lows + 64 * h, row.codes + 128 * h);
    add_crumbs(block.tops, 4, row.codes);
}

void join_block(const RowRecord& row, int, q6_k::Block& block) {
    block.d = StoredF16::from_bits(row.d[0]);
    std::memcpy(block.scales, row.scale, 16);
    for (int h = 0; h < 2; ++h) join_nibbles<64>(row.codes + 128 * h, block.lows + 64 * h);
    take_crumbs(row.codes, 4, block.tops);
}

void split_block(const iq4_xs::Block& block, int, RowRecord& row) {
    row.d[0] = block.d.bits();
    for (int b = 0; b < 8; ++b) {
        row.scale[b] = static_cast<uint8_t>(scale(block, b) + 32);
        split_nibbles<16>(block.nibbles + 16 * b, row.codes + 32 * b);
    }
}

void join_block(const RowRecord& row, int, iq4_xs::Block& block) {
    block.d = StoredF16::from_bits(row.d[0]);
    std::memset(block.scale_tops, 0, sizeof(block.scale_tops));
    std::memset(block.scale_lows, 0, sizeof(block.scale_lows));
    for (int b = 0; b < 8; ++b) {
        block.scale_lows[b / 2] |= static_cast<uint8_t>((row.scale[b] & 15) << (4 * (b % 2)));
        block.scale_tops[b / 4] |= static_cast<uint8_t>((row.scale[b] >> 4) << (2 * (b % 4)));
        join_nibbles<16>(row.codes + 32 * b, block.nibbles + 16 * b);
    }
}

// ---- rows

template <class Block>
void split_blocks(const std::byte* stored, int64_t columns, RowRecord& row) {
    if (columns < 256) row = RowRecord{};
    for (int b = 0; b * Block::kWeights < columns; ++b) split_block(reinterpret_cast<const Block*>(stored)[b], b, row);
}

template <class Block>
void join_blocks(const RowRecord& row, int64_t columns, std::byte* stored) {
    for (int b = 0; b * Block::kWeights < columns; ++b) join_block(row, b, reinterpret_cast<Block*>(stored)[b]);
}

}  // namespace

void split_row(FormatId format, const std::byte* stored, int64_t columns, RowRecord& row) {
    switch (format) {
        case FormatId::q4_0:
            return split_blocks<q4_0::Block>(stored, columns, row);
        case FormatId::q4_1:
            return split_blocks<q4_1::Block>(stored, columns, row);
        case FormatId::q5_0:
            return split_blocks<q5_0::Block>(stored, columns, row);
        case FormatId::q5_1:
            return split_blocks<q5_1::Block>(stored, columns, row);
        case FormatId::q8_0:
            return split_blocks<q8_0::Block>(stored, columns, row);
        case FormatId::q2_k:
            return split_blocks<q2_k::Block>(stored, columns, row);
        case FormatId::q3_k:
            return split_blocks<q3_k::Block>(stored, columns, row);
        case FormatId::q4_k:
            return split_blocks<q4_k::Block>(stored, columns, row);
        case FormatId::q5_k:
            return split_blocks<q5_k::Block>(stored, columns, row);
        case FormatId::q6_k:
            return split_blocks<q6_k::Block>(stored, columns, row);
        case FormatId::iq4_nl:
            return split_blocks<iq4_nl::Block>(stored, columns, row);
        case FormatId::iq4_xs:
            return split_blocks<iq4_xs::Block>(stored, columns, row);
        case FormatId::mxfp4:
            return split_blocks<mxfp4::Block>(stored, columns, row);
        case FormatId::nvfp4:
            return split_blocks<nvfp4::Block>(stored, columns, row);
        default:
            CHECK(false, "only quantised formats have records of codes");
    }
}

void join_row(FormatId format, const RowRecord& row, int64_t columns, std::byte* stored) {
    switch (format) {
        case FormatId::q4_0:
            return join_blocks<q4_0::Block>(row, columns, stored);
        case FormatId::q4_1:
            return join_blocks<q4_1::Block>(row, columns, stored);
        case FormatId::q5_0:
            return join_blocks<q5_0::Block>(row, columns, stored);
        case FormatId::q5_1:
            return join_blocks<q5_1::Block>(row, columns, stored);
        case FormatId::q8_0:
            return join_blocks<q8_0::Block>(row, columns, stored);
        case FormatId::q2_k:
            return join_blocks<q2_k::Block>(row, columns, stored);
        case FormatId::q3_k:
            return join_blocks<q3_k::Block>(row, columns, stored);
        case FormatId::q4_k:
            return join_blocks<q4_k::Block>(row, columns, stored);
        case FormatId::q5_k:
            return join_blocks<q5_k::Block>(row, columns, stored);
        case FormatId::q6_k:
            return join_blocks<q6_k::Block>(row, columns, stored);
        case FormatId::iq4_nl:
            return join_blocks<iq4_nl::Block>(row, columns, stored);
        case FormatId::iq4_xs:
            return join_blocks<iq4_xs::Block>(row, columns, stored);
        case FormatId::mxfp4:
            return join_blocks<mxfp4::Block>(row, columns, stored);
        case FormatId::nvfp4:
            return join_blocks<nvfp4::Block>(row, columns, stored);
        default:
            CHECK(false, "only quantised formats have records of codes");
    }
}

}  // namespace invar
