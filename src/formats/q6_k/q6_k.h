// Q6_K: 256 weights in 16 sub-blocks of 16; int8 scales; signed 6-bit codes. 6.5625 bits per weight.
//
//   byte  0                     128                 192               208 210
//       | lows: 2 x 64 bytes  | tops: 2 x 32 bytes | scales: 16 int8 | d |      weight i = d * sc_{i/16} * (c_i - 32)
//         2 nibbles a byte      4 pairs a byte                        f16
//
//   c_i for i = 128h + 64n + j (0 <= j < 64): bits 0-3 = nibble n (0 low, 1 high) of lows[64h + j];
//       and i = 128h + 32t + l (0 <= l < 32): bits 4, 5 = bits 2t, 2t + 1 of tops[32h + l].
// Next: formats/q3_k, docs/arithmetic.md section 1 for the strand step.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>

#include "arithmetic/dot.h"
#include "formats/description.h"
#include "formats/row_record.h"
#include "formats/stored.h"

namespace invar::q6_k {

struct Block {
    static constexpr int kWeights = 256;
    uint8_t lows[128];
    uint8_t tops[64];
    int8_t scales[16];
    StoredF16 d;
};
static_assert(sizeof(Block) == 210 && alignof(Block) == 1);

inline constexpr Description kDescription{
    .gguf_type = 14, .nibbles = true, .crumbs = true, .offset = 32, .halves = true, .scales = ScaleForm::int8};
inline constexpr ScaleField kScaleFields[] = {{"d", ScaleKind::f16, offsetof(Block, d), 0}};

// Signed code of weight l of the block of 32 b (0 <= b < 8, 0 <= l < 32), -32 to 31.
inline int code(const Block& block, int b, int l) {
    const int half = b / 4, t = b % 4;
    const int low = block.lows[64 * half + 32 * (t % 2) + l] >> (4 * (t / 2)) & 15;
    const int top = block.tops[32 * half + l] >> (2 * t) & 3;
    return (low | top << 4) - 32;
}

// Exact: the factors have 11, 7 and 5 significant bits (-128 and -32 are powers of two).
inline float weight(const Block& block, int i) {
    const float dl = block.d.value() * static_cast<float>(block.scales[i / 16]);
    return dl * static_cast<float>(code(block, i / 32, i % 32));
}

inline void accumulate(const Block& block, const QuantizedBlock* x, int64_t first_block, Strands& strands) {
    for (int b = 0; b < 8; ++b) {
        int32_t isum = 0;  // at most 2 * 128 * 16 * 32 * 127 = 16 646 144 < 2^24, so its conversion to float is exact
        for (int half = 0; half < 2; ++half) {
            int32_t idot = 0;
            for (int l = 16 * half; l < 16 * half + 16; ++l) idot += code(block, b, l) * x[b].q[l];
            isum += block.scales[2 * b + half] * idot;
        }
        float& s = strands.of_block(first_block + b);
        s = std::fma(block.d.value() * x[b].d, static_cast<float>(isum), s);
    }
}

void encode(const float* x, const float* importance, Block& block);
void split(const Block& block, int at, RowRecord& row);  // formats/row_record.h; `at`: block of the record
void join(const RowRecord& row, int at, Block& block);

}  // namespace invar::q6_k
