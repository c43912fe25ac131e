// The packed record of each quantised format: 4 rows x 256 columns, the unit that vector kernels read. It decides where
// every bit lies; rows4.cpp moves bits there and back, cpu/linear_*.cpp reads them. Constants only: files compiled for
// an instruction set include this header. Drawings with offsets: docs/kernels.md.
//
// Lanes. Row r of the group is half r % 2 of pair r / 2. Block b (0 to 7) of 32 columns is lane 8 (r % 2) + b of its
// pair: two rows are the 16 int32 lanes of a zmm register, one row the 8 lanes of a ymm register, and a lane is a
// strand of the dot law. k-group j (0 to 7) holds columns 32 b + 4 j + c, byte c (0 to 3) of lane b. Formats with two
// scales a block: half 0 is columns 0 to 15 of a block (k-groups 0 to 3), half 1 the others.
#pragma once

#include <cstdint>

#include "formats/format.h"

namespace invar {

// How the scales of a record are laid out. A pair's lanes are neighbours, so that one load feeds a register.
enum class ScaleForm : uint8_t {
    none,
    f16,          // 64 B: f16 d[pair][16]
    f16_minimum,  // 128 B: f16 d[pair][16], f16 m[pair][16]
    six_bit,      // 64 B: u16 low[16], u8 high[16], f16 d[4], f16 dmin[4]. Lane l: pair 0 is the low 12 bits of low[l],
                  // pair 1 is low[l] >> 12 | high[l] << 4; of the 12 bits, 6 are the scale and the upper 6 the minimum
                  // (Q4_K, Q5_K), or half 0's and half 1's scale, each + 32 (Q3_K: dmin is zero and unused)
    nibbles,      // 64 B: u8 [pair][half][16], scale in the low nibble, minimum in the high one; side 16 B: f16 d[4],
                  // dmin[4]
    int8,         // 64 B: i8 [pair][half][16]; side 8 B: f16 d[4]
    iq4_xs,       // side 32 B: u8 low[16], u8 high[8], f16 d[4]. Lane l: pair 0 is the low 6 bits of low[l]; pair 1 is
                  // low[l] >> 6 | (high[l % 8] >> 4 (l / 8) & 15) << 2; each is the scale + 32
    e8m0,         // side 32 B: u8 e[pair][16]
    ue4m3,        // 64 B: u8 [pair][half][16]
};

enum class CodeLevels : uint8_t { plain, iq4, e2m1 };  // what a 4-bit code means: itself, or an entry of a table

struct RecordLayout {
    // Code planes, in this order from the start of the record. Byte [32 (r % 2) + 4 b + c] of a 64-byte line:
    bool bytes = false;    // 1024 B: line [pair][j]: the code + 128 (Q8_0)
    bool nibbles = false;  // 512 B: line [pair][j % 4], bits 4 (j / 4) .. + 3: the code's low 4 bits
    bool crumbs = false;   // 256 B: line [pair][j / 4], bits 2 (j % 4), + 1: two bits of the code
    bool bits = false;     // 128 B: line [pair], bit j: one bit of the code
    CodeLevels levels = CodeLevels::plain;
    int offset = 0;       // what kernels subtract from the unsigned code, through the start value of the integer dot
    bool halves = false;  // two scales a block of 32
    ScaleForm scales = ScaleForm::none;

    constexpr int crumbs_at() const { return (bytes ? 1024 : 0) + (nibbles ? 512 : 0); }
    constexpr int bits_at() const { return crumbs_at() + (crumbs ? 256 : 0); }
    constexpr int scales_at() const { return bits_at() + (bits ? 128 : 0); }
    // Bytes of a record, a multiple of 64.
    constexpr int main_bytes() const {
        const bool in_side = scales == ScaleForm::iq4_xs || scales == ScaleForm::e8m0;
        return scales_at() + (in_side ? 0 : scales == ScaleForm::f16_minimum ? 128 : 64);
    }
    // Bytes a record that stand before the records of a row group: what would push a record off a cache line. Before
    // and not behind, so that a kernel which reads its stream of weights in order has them when the records come.
    constexpr int side_bytes() const {
        switch (scales) {
            case ScaleForm::nibbles:
                return 16;
            case ScaleForm::int8:
                return 8;
            case ScaleForm::iq4_xs:
            case ScaleForm::e8m0:
                return 32;
            default:
                return 0;
        }
    }
    // Shift of the code's upper part (crumbs or bits): after the nibbles, or after the crumbs.
    constexpr int crumbs_shift() const { return nibbles ? 4 : 0; }
    constexpr int bits_shift() const { return nibbles ? 4 : 2; }
};

constexpr RecordLayout record_layout(FormatId id) {
    using enum FormatId;
    switch (id) {
        case q4_0:
            return {.nibbles = true, .offset = 8, .scales = ScaleForm::f16};
        case q4_1:
            return {.nibbles = true, .scales = ScaleForm::f16_minimum};
        case q5_0:
            return {.nibbles = true, .bits = true, .offset = 16, .scales = ScaleForm::f16};
        case q5_1:
            return {.nibbles = true, .bits = true, .scales = ScaleForm::f16_minimum};
        case q8_0:
            return {.bytes = true, .offset = 128, .scales = ScaleForm::f16};
        case q2_k:
            return {.crumbs = true, .halves = true, .scales = ScaleForm::nibbles};
        case q3_k:
            return {.crumbs = true, .bits = true, .offset = 4, .halves = true, .scales = ScaleForm::six_bit};
        case q4_k:
            return {.nibbles = true, .scales = ScaleForm::six_bit};
        case q5_k:
            return {.nibbles = true, .bits = true, .scales = ScaleForm::six_bit};
        case q6_k:
            return {.nibbles = true, .crumbs = true, .offset = 32, .halves = true, .scales = ScaleForm::int8};
        case iq4_nl:
            return {.nibbles = true, .levels = CodeLevels::iq4, .offset = 128, .scales = ScaleForm::f16};
        case iq4_xs:
            return {.nibbles = true, .levels = CodeLevels::iq4, .offset = 128, .scales = ScaleForm::iq4_xs};
        case mxfp4:
            return {.nibbles = true, .levels = CodeLevels::e2m1, .offset = 12, .scales = ScaleForm::e8m0};
        case nvfp4:
            return {
                .nibbles = true, .levels = CodeLevels::e2m1, .offset = 12, .halves = true, .scales = ScaleForm::ue4m3};
        default:
            return {};  // float formats have no codes: [32][4 rows][8 lanes] elements a record
    }
}

inline constexpr int kRecordColumns = 256;

constexpr int64_t records_of(int64_t columns) { return (columns + kRecordColumns - 1) / kRecordColumns; }

// Four packed rows: the side pieces of all records, rounded up to a cache line, then the records.
constexpr int64_t sides_bytes(const RecordLayout& layout, int64_t columns) {
    return (records_of(columns) * layout.side_bytes() + 63) / 64 * 64;
}
constexpr int64_t row_group_bytes(const RecordLayout& layout, int64_t columns) {
    return sides_bytes(layout, columns) + records_of(columns) * layout.main_bytes();
}

}  // namespace invar
