// Q2_K: 256 weights in 16 sub-blocks of 16; 4-bit scales and minima; 2-bit codes. 2.625 bits per weight.
//
//   byte  0                     16                       80  82     84
//       | scales: sc | m << 4 | codes: 2 x 32 bytes    | d | dmin |
//         one byte a sub-block  4 codes a byte          f16  f16
//
//   weight i = d * sc_{i/16} * c_i - dmin * m_{i/16}
//   c_i for i = 128h + 32t + l: bits 2t, 2t + 1 of codes[32h + l].
// Next: docs/arithmetic.md section 1 for the strand step.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>

#include "arithmetic/dot.h"
#include "formats/description.h"
#include "formats/row_record.h"
#include "formats/stored.h"

namespace invar::q2_k {

struct Block {
    static constexpr int kWeights = 256;
    uint8_t scales[16];
    uint8_t codes[64];
    StoredF16 d;
    StoredF16 dmin;
};
static_assert(sizeof(Block) == 84 && alignof(Block) == 1);

inline constexpr Description kDescription{
    .gguf_type = 10, .crumbs = true, .halves = true, .scales = ScaleForm::nibbles};
inline constexpr ScaleField kScaleFields[] = {{"d", ScaleKind::f16, offsetof(Block, d), 0},
                                              {"dmin", ScaleKind::f16, offsetof(Block, dmin), 1}};

// Code of weight l of the block of 32 b (0 <= b < 8, 0 <= l < 32), 0 to 3.
inline int code(const Block& block, int b, int l) { return block.codes[32 * (b / 4) + l] >> (2 * (b % 4)) & 3; }

inline int scale(const Block& block, int sub_block) { return block.scales[sub_block] & 15; }
inline int minimum(const Block& block, int sub_block) { return block.scales[sub_block] >> 4; }

// One rounding: both products are exact (11 + 4 + 2 and 11 + 4 bits), the difference rounds.
inline float weight(const Block& block, int i) {
    const float dl = block.d.value() * static_cast<float>(scale(block, i / 16));
    const float ml = block.dmin.value() * static_cast<float>(minimum(block, i / 16));
    return dl * static_cast<float>(code(block, i / 32, i % 32)) - ml;
}

inline void accumulate(const Block& block, const QuantizedBlock* x, int64_t first_block, Strands& strands) {
    for (int b = 0; b < 8; ++b) {
        int32_t isum = 0, imin = 0;
        for (int half = 0; half < 2; ++half) {
            int32_t idot = 0, sum = 0;
            for (int l = 16 * half; l < 16 * half + 16; ++l) {
                idot += code(block, b, l) * x[b].q[l];
                sum += x[b].q[l];
            }
            isum += scale(block, 2 * b + half) * idot;
            imin += minimum(block, 2 * b + half) * sum;
        }
        float& s = strands.of_block(first_block + b);
        s = std::fma(block.d.value() * x[b].d, static_cast<float>(isum), s);
        s = std::fma(-(block.dmin.value() * x[b].d), static_cast<float>(imin), s);
    }
}

void encode(const float* x, const float* importance, Block& block);
void split(const Block& block, int at, RowRecord& row);  // formats/row_record.h; `at`: block of the record
void join(const RowRecord& row, int at, Block& block);

}  // namespace invar::q2_k
