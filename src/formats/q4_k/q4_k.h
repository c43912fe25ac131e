// Q4_K: 256 weights in 8 sub-blocks of 32; 6-bit scales and minima; 4-bit codes. 4.5 bits per weight.
//
//   byte  0   2      4                 16                      144
//       | d | dmin | scales: 12 bytes | nibbles: 4 x 32 bytes |    weight i = d * sc_{i/32} * c_i - dmin * m_{i/32}
//        f16  f16
//
//   c_i for i = 64p + 32n + l: nibble n (0 low, 1 high) of nibbles[32p + l].
//   scales, bit 7 on the left (A..H = scales 0..7, a..h = minima 0..7; the top two bits of 4..7 sit above 0..3):
//     0 EEAAAAAA   4 eeaaaaaa    8 eeeeEEEE
//     1 FFBBBBBB   5 ffbbbbbb    9 ffffFFFF
//     2 GGCCCCCC   6 ggcccccc   10 ggggGGGG
//     3 HHDDDDDD   7 hhdddddd   11 hhhhHHHH
// Next: formats/q5_k (one more bit a weight), docs/arithmetic.md section 1 for the strand step.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>

#include "arithmetic/dot.h"
#include "formats/description.h"
#include "formats/row_record.h"
#include "formats/stored.h"

namespace invar::q4_k {

// The eight 6-bit scales and minima of a Q4_K or Q5_K block.
struct PackedScales {
    uint8_t bytes[12];

    int scale(int sub_block) const {
        if (sub_block < 4) return bytes[sub_block] & 63;
        return (bytes[sub_block + 4] & 15) | (bytes[sub_block - 4] >> 6) << 4;
    }
    int minimum(int sub_block) const {
        if (sub_block < 4) return bytes[sub_block + 4] & 63;
        return bytes[sub_block + 4] >> 4 | (bytes[sub_block] >> 6) << 4;
    }
    // Sets one sub-block in bytes that were zeroed before; each sub-block may be set once.
    void set(int sub_block, int scale, int minimum) {
        if (sub_block < 4) {
            bytes[sub_block] |= static_cast<uint8_t>(scale);
            bytes[sub_block + 4] |= static_cast<uint8_t>(minimum);
        } else {
            bytes[sub_block + 4] |= static_cast<uint8_t>((scale & 15) | (minimum & 15) << 4);
            bytes[sub_block - 4] |= static_cast<uint8_t>((scale >> 4) << 6);
            bytes[sub_block] |= static_cast<uint8_t>((minimum >> 4) << 6);
        }
    }
    void split(RowRecord& row) const {
        for (int b = 0; b < 8; ++b) {
            row.scale[b] = static_cast<uint8_t>(scale(b));
            row.minimum[b] = static_cast<uint8_t>(minimum(b));
        }
    }
    void join(const RowRecord& row) {
        for (int b = 0; b < 4; ++b) {
            bytes[b] = static_cast<uint8_t>(row.scale[b] | (row.scale[b + 4] >> 4) << 6);
            bytes[b + 4] = static_cast<uint8_t>(row.minimum[b] | (row.minimum[b + 4] >> 4) << 6);
            bytes[b + 8] = static_cast<uint8_t>((row.scale[b + 4] & 15) | row.minimum[b + 4] << 4);
        }
    }
};

struct Block {
    static constexpr int kWeights = 256;
    StoredF16 d;
    StoredF16 dmin;
    PackedScales scales;
    uint8_t nibbles[128];
};
static_assert(sizeof(Block) == 144 && alignof(Block) == 1);

inline constexpr Description kDescription{.gguf_type = 12, .nibbles = true, .scales = ScaleForm::six_bit};
inline constexpr ScaleField kScaleFields[] = {{"d", ScaleKind::f16, offsetof(Block, d), 0},
                                              {"dmin", ScaleKind::f16, offsetof(Block, dmin), 1}};

// Code of weight l of sub-block b (0 <= b < 8, 0 <= l < 32), 0 to 15.
inline int code(const Block& block, int b, int l) { return block.nibbles[32 * (b / 2) + l] >> (4 * (b % 2)) & 15; }

// One rounding: both products are exact (11 + 6 + 4 and 11 + 6 bits), the difference rounds.
inline float weight(const Block& block, int i) {
    const float dl = block.d.value() * static_cast<float>(block.scales.scale(i / 32));
    const float ml = block.dmin.value() * static_cast<float>(block.scales.minimum(i / 32));
    return dl * static_cast<float>(code(block, i / 32, i % 32)) - ml;
}

inline void accumulate(const Block& block, const QuantizedBlock* x, int64_t first_block, Strands& strands) {
    for (int b = 0; b < 8; ++b) {
        int32_t idot = 0;
        for (int l = 0; l < 32; ++l) idot += code(block, b, l) * x[b].q[l];
        const float dl = block.d.value() * static_cast<float>(block.scales.scale(b));       // exact
        const float ml = block.dmin.value() * static_cast<float>(block.scales.minimum(b));  // exact
        float& s = strands.of_block(first_block + b);
        s = std::fma(dl * x[b].d, static_cast<float>(idot), s);
        s = std::fma(-ml, x[b].sx, s);
    }
}

void encode(const float* x, const float* importance, Block& block);
void split(const Block& block, int at, RowRecord& row);  // formats/row_record.h; `at`: block of the record
void join(const RowRecord& row, int at, Block& block);

}  // namespace invar::q4_k
