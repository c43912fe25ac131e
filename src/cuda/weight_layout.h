// Where every bit of a weight matrix lies in device memory. A decode warp works on a ROW GROUP of 4 rows: lane 4 b + r
// holds strand b of row r. So a record of 256 columns gives each lane its own block of 32, and with one 16-byte load
// per lane a warp reads 512 neighbouring bytes. Constants only, for the packer (weight_packing.cpp) and the kernels
// (weight_pieces.cuh). The drawings and the reasons: docs/gpu.md.
//
//   matrix | group 0 | group 1 | ...              ceil(rows / 4) groups; rows past the end are zero bits
//   group  | span 0 | span 1 | ...                a span is 4 records (1024 columns); the last one may be shorter
//   span   | scales [32 lanes] | side [4 rows] | record 0 | record 1 | record 2 | record 3 |
//   record | codes 0-15 [lane][16 B] | (codes 16-31) | crumbs [lane][8 B] | bits [lane][4 B] |
//
// In float weights a record is `[chunk][lane][16 B]`: 8 chunks (f32), 4 (f16, bf16) or 2 (FP8) of each block in order.
// The planes and scales of a format follow from its description (formats/description.h).
#pragma once

#include <cstdint>

#include "formats/definitions.h"

namespace invar::cuda {

inline constexpr int kGroupRows = 4;
inline constexpr int kGroupLanes = 32;
inline constexpr int kRecordColumns = 256;
inline constexpr int kSpanRecords = 4;

// What each lane holds of the scales of a span (ScaleForm, formats/description.h), and what is kept per row beside
// them.
// i = record of the span, h = half of the block, b = strand.
//   f16          8 B: f16 d[i]; bf16 likewise
//   f16_minimum  16 B: { f16 d, f16 m }[i]
//   six_bit      8 B: 12 bits for each i from bit 0 (Q4_K, Q5_K: scale | minimum << 6; Q3_K: half 0 | half 1 << 6),
//                then, at bit 48, a piece of the row's superblock scales: strand b has d of record b / 2 (b even) or
//                its dmin (b odd). Q3_K: strand b < 4 has d of record b
//   int8         8 B: int8 [i][h]; side 8 B a row: f16 d[i]
//   nibbles      8 B: u8 [i][h], scale | minimum << 4; side 16 B a row: { f16 d, f16 dmin }[i]
//   iq4_xs       4 B: 6 bits for each i from bit 0 (scale + 32), then at bit 24 byte b of the row's f16 d[4]
//   e8m0         4 B: u8 [i]
//   ue4m3        8 B: u8 [i][h]
//   f16_of_128   side 16 B a row: f16 d[b / 4][i]; bf16_of_128 likewise
//   f32_of_128   32 B a span: f32 [i][b / 4], the same for all rows of the group (rows4_scales_agree); float elements
// Code planes. A word is 4 codes of neighbouring columns (a k-group j: columns 4 j .. 4 j + 3 of the block).
//   bytes    2 x 16 B a lane: word j, a signed code a byte
//   nibbles  16 B a lane: word j % 4; k-group j in the low nibbles of its bytes, j + 4 in the high ones; with levels
//            j is in its low and j + 4 in its high 16 bits, a nibble each
//   crumbs   8 B a lane: word j / 4, bits 2 (j % 4) of each byte
//   bits     4 B a lane: bit j of each byte
struct WeightLayout : Description {
    // True for codes that kernels multiply unchanged, as signed bytes. Others are unsigned and too large by
    // stored_offset().
    constexpr bool is_signed() const { return bytes || levels != CodeLevels::plain; }
    constexpr int stored_offset() const { return is_signed() ? 0 : offset; }
    constexpr int float_bytes() const { return element_bytes(elements); }
    constexpr bool has_grid() const { return is_float() && scales == ScaleForm::f32_of_128; }
    constexpr int crumbs_at() const { return bytes ? 1024 : nibbles ? 512 : 0; }
    constexpr int bits_at() const { return crumbs_at() + (crumbs ? 256 : 0); }
    constexpr int record_bytes() const {
        if (is_float()) return kGroupRows * kRecordColumns * float_bytes();
        return bits_at() + (bits ? 128 : 0);
    }
    constexpr int scale_bytes() const {  // of a lane
        switch (scales) {
            case ScaleForm::none:
            case ScaleForm::f16_of_128:
            case ScaleForm::bf16_of_128:
            case ScaleForm::f32_of_128:
                return 0;
            case ScaleForm::f16_minimum:
                return 16;
            case ScaleForm::iq4_xs:
            case ScaleForm::e8m0:
                return 4;
            default:
                return 8;
        }
    }
    constexpr int side_bytes() const {  // of a row
        switch (scales) {
            case ScaleForm::int8:
            case ScaleForm::f32_of_128:
                return 8;
            case ScaleForm::nibbles:
            case ScaleForm::f16_of_128:
            case ScaleForm::bf16_of_128:
                return 16;
            default:
                return 0;
        }
    }
    constexpr int side_at() const { return kGroupLanes * scale_bytes(); }
    constexpr int records_at() const { return side_at() + kGroupRows * side_bytes(); }
    constexpr int span_bytes() const { return records_at() + kSpanRecords * record_bytes(); }
    // How far the upper planes are shifted in a code.
    constexpr int crumbs_shift() const { return nibbles ? 4 : 0; }
    constexpr int bits_shift() const { return nibbles ? 4 : 2; }
};

constexpr WeightLayout weight_layout(FormatId id) { return WeightLayout{describe(id)}; }

constexpr int64_t records_of(int64_t columns) { return (columns + kRecordColumns - 1) / kRecordColumns; }
constexpr int64_t groups_of(int64_t rows) { return (rows + kGroupRows - 1) / kGroupRows; }

constexpr int64_t group_bytes(const WeightLayout& layout, int64_t records) {
    const int64_t spans = (records + kSpanRecords - 1) / kSpanRecords;
    return spans * layout.records_at() + records * layout.record_bytes();
}

// Whether the device has kernels for matrices of the format. If not, the plan says so.
constexpr bool has_device_form(FormatId id) { return describe(id).has_pieces(); }
// Bytes of [rows, columns] on the device.
constexpr int64_t device_weight_bytes(FormatId id, int64_t rows, int64_t columns) {
    return groups_of(rows) * group_bytes(weight_layout(id), records_of(columns));
}

// ---- activations

// 256 quantised columns of one token for the decode kernels. Lane 4 b + r reads strand b, so the 4 rows share a read.
struct ActivationRecord {
    int8_t q[2][8][16];      // [half][strand]
    float d[8];              // [strand]; -0 past the end of K
    float sx[8];             // d * float(sum of the block's q); -0 past the end of K
    int32_t half_sum[2][8];  // sums of q
};
static_assert(sizeof(ActivationRecord) == 384);

}  // namespace invar::cuda
