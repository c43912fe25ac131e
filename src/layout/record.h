// The packed record of each format, the unit that vector kernels read: 4 rows x 256 columns. It decides where every bit
// lies; rows4.cpp moves bits there and back, and cpu/linear_*.cpp reads them. Constants only: files compiled for an
// instruction set include this header. Drawings with offsets: docs/kernels.md.
//
// The parts of a record follow from the format's description (formats/description.h).
//
// Lanes. Row r of the group is half r % 2 of pair r / 2. Block b (0 to 7) of 32 columns is lane 8 (r % 2) + b of its
// pair: two rows are the 16 int32 lanes of a zmm register, one row the 8 lanes of a ymm register, and a lane is a
// strand of the dot law. k-group j (0 to 7) holds columns 32 b + 4 j + c, byte c (0 to 3) of lane b. Formats with two
// scales a block: half 0 is columns 0 to 15 of a block (k-groups 0 to 3), half 1 the others.
#pragma once

#include <cstdint>

#include "formats/definitions.h"

namespace invar {

// How ScaleForm (formats/description.h) lies in a record. A pair's lanes are neighbours, so that one load feeds a
// register.
//   f16          64 B: f16 d[pair][16]; bf16 likewise
//   f16_minimum  128 B: f16 d[pair][16], f16 m[pair][16]
//   six_bit      64 B: u16 low[16], u8 high[16], f16 d[4], f16 dmin[4]. Lane l: pair 0 is the low 12 bits of low[l],
//                pair 1 is low[l] >> 12 | high[l] << 4; of the 12 bits, 6 are the scale and the upper 6 the minimum
//                (Q4_K, Q5_K), or half 0's and half 1's scale, each + 32 (Q3_K: dmin is zero and unused)
//   nibbles      64 B: u8 [pair][half][16], scale in the low nibble, minimum in the high one; side 16 B: f16 d[4],
//                dmin[4]
//   int8         64 B: i8 [pair][half][16]; side 8 B: f16 d[4]
//   iq4_xs       side 32 B: u8 low[16], u8 high[8], f16 d[4]. Lane l: pair 0 is the low 6 bits of low[l]; pair 1 is
//                low[l] >> 6 | (high[l % 8] >> 4 (l / 8) & 15) << 2; each is the scale + 32
//   e8m0         side 32 B: u8 e[pair][16]
//   ue4m3        64 B: u8 [pair][half][16]
//   f16_of_128   side 16 B: f16 d[4 rows][2]; bf16_of_128 likewise
//   f32_of_128   side 8 B: f32 [2], of all four rows; float elements
//
// Code planes, in this order from the start of the record. Byte [32 (r % 2) + 4 b + c] of a 64-byte line:
//   bytes    1024 B: line [pair][j]: the code + 128 (Q8_0)
//   nibbles  512 B: line [pair][j % 4], bits 4 (j / 4) .. + 3: the code's low 4 bits
//   crumbs   256 B: line [pair][j / 4], bits 2 (j % 4), + 1: two bits of the code
//   bits     128 B: line [pair], bit j: one bit of the code
// Float elements: [32 steps i][4 rows][8 lanes b], as they are; of one byte: [16 pairs of steps][4 rows][8 lanes b][2
// steps], so that a word of 16 bits holds neighbours and two registers of halves come from one line by shifts.
inline constexpr int kRecordColumns = 256;
inline constexpr int kRecordElements = 4 * kRecordColumns;

struct RecordLayout : Description {
    constexpr int crumbs_at() const { return (bytes ? 1024 : 0) + (nibbles ? 512 : 0); }
    constexpr int bits_at() const { return crumbs_at() + (crumbs ? 256 : 0); }
    constexpr int scales_at() const { return bits_at() + (bits ? 128 : 0); }
    // Bytes of a record, a multiple of 64.
    constexpr int main_bytes() const {
        if (is_float()) return kRecordElements * element_bytes(elements);
        switch (scales) {
            case ScaleForm::none:
            case ScaleForm::iq4_xs:
            case ScaleForm::e8m0:
            case ScaleForm::f16_of_128:
            case ScaleForm::bf16_of_128:
            case ScaleForm::f32_of_128:
                return scales_at();
            case ScaleForm::f16_minimum:
                return scales_at() + 128;
            default:
                return scales_at() + 64;
        }
    }
    // Bytes per record that stand before the records of a row group: those that would push a record off a cache line.
    // They stand before and not behind, so that a kernel that reads its stream of weights in order has them when the
    // records come.
    constexpr int side_bytes() const {
        switch (scales) {
            case ScaleForm::nibbles:
            case ScaleForm::f16_of_128:
            case ScaleForm::bf16_of_128:
                return 16;
            case ScaleForm::int8:
            case ScaleForm::f32_of_128:
                return 8;
            case ScaleForm::iq4_xs:
            case ScaleForm::e8m0:
                return 32;
            default:
                return 0;
        }
    }
    // The shift of a code's upper part (crumbs or bits), which lies above the nibbles or the crumbs.
    constexpr int crumbs_shift() const { return nibbles ? 4 : 0; }
    constexpr int bits_shift() const { return nibbles ? 4 : 2; }
};

constexpr RecordLayout record_layout(FormatId id) { return RecordLayout{describe(id)}; }

constexpr int64_t records_of(int64_t columns) { return (columns + kRecordColumns - 1) / kRecordColumns; }

// Four packed rows: the side pieces of all records, rounded up to a cache line, then the records.
constexpr int64_t sides_bytes(const RecordLayout& layout, int64_t columns) {
    return (records_of(columns) * layout.side_bytes() + 63) / 64 * 64;
}
constexpr int64_t row_group_bytes(const RecordLayout& layout, int64_t columns) {
    return sides_bytes(layout, columns) + records_of(columns) * layout.main_bytes();
}

}  // namespace invar
