// Q3_K: 256 weights in 16 sub-blocks of 16; signed 6-bit scales; signed 3-bit codes. 3.4375 bits per weight.
//
//   byte  0            32                     96       108 110
//       | tops: 32 B | lows: 2 x 32 bytes   | scales | d |          weight i = d * (sc_{i/16} - 32) * (c_i - 4)
//                      4 codes a byte         12 B    f16
//
//   c_i for i = 128h + 32t + l: bits 0, 1 = bits 2t, 2t + 1 of lows[32h + l]; bit 2 = bit i/32 of tops[l].
//   scale k (6 bits): low 4 in the low (k < 8) or high (k >= 8) nibble of scales[k % 8];
//                     top 2 in bits 2(k/4), 2(k/4) + 1 of scales[8 + k % 4].
// Next: formats/q6_k, docs/arithmetic.md section 1 for the strand step.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>

#include "arithmetic/dot.h"
#include "formats/description.h"
#include "formats/row_record.h"
#include "formats/stored.h"

namespace invar::q3_k {

struct Block {
    static constexpr int kWeights = 256;
    uint8_t tops[32];
    uint8_t lows[64];
    uint8_t scales[12];
    StoredF16 d;
};
static_assert(sizeof(Block) == 110 && alignof(Block) == 1);

inline constexpr Description kDescription{
    .gguf_type = 11, .crumbs = true, .bits = true, .offset = 4, .halves = true, .scales = ScaleForm::six_bit};
inline constexpr ScaleField kScaleFields[] = {{"d", ScaleKind::f16, offsetof(Block, d), 0}};

// Signed code of weight l of the block of 32 b (0 <= b < 8, 0 <= l < 32), -4 to 3.
inline int code(const Block& block, int b, int l) {
    const int low = block.lows[32 * (b / 4) + l] >> (2 * (b % 4)) & 3;
    const int top = block.tops[l] >> b & 1;
    return (low | top << 2) - 4;
}

// Signed scale of a sub-block of 16, -32 to 31.
inline int scale(const Block& block, int sub_block) {
    const int low = sub_block < 8 ? block.scales[sub_block] & 15 : block.scales[sub_block - 8] >> 4;
    const int top = block.scales[8 + sub_block % 4] >> (2 * (sub_block / 4)) & 3;
    return (low | top << 4) - 32;
}

// Exact: the factors have 11, 5 and 2 significant bits (-32 and -4 are powers of two).
inline float weight(const Block& block, int i) {
    const float dl = block.d.value() * static_cast<float>(scale(block, i / 16));
    return dl * static_cast<float>(code(block, i / 32, i % 32));
}

inline void accumulate(const Block& block, const QuantizedBlock* x, int64_t first_block, Strands& strands) {
    for (int b = 0; b < 8; ++b) {
        int32_t isum = 0;
        for (int half = 0; half < 2; ++half) {
            int32_t idot = 0;
            for (int l = 16 * half; l < 16 * half + 16; ++l) idot += code(block, b, l) * x[b].q[l];
            isum += scale(block, 2 * b + half) * idot;
        }
        float& s = strands.of_block(first_block + b);
        s = std::fma(block.d.value() * x[b].d, static_cast<float>(isum), s);
    }
}

void encode(const float* x, const float* importance, Block& block);
void split(const Block& block, int at, RowRecord& row);  // formats/row_record.h; `at`: block of the record
void join(const RowRecord& row, int at, Block& block);

}  // namespace invar::q3_k
