// Q5_1: 32 weights, a scale and a minimum, unsigned 5-bit codes. 6 bits per weight.
//
//   byte  0   2   4      8                                   24
//       | d | m | tops | c0,c16 | c1,c17 | ... | c15,c31 |          weight i = d * c_i + m
//        f16 f16  32 bits: bit i is bit 4 of code i;  low nibble: weight j, high nibble: weight j + 16
//
// Next: docs/arithmetic.md section 1 for the strand step.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>

#include "arithmetic/dot.h"
#include "formats/description.h"
#include "formats/row_record.h"
#include "formats/stored.h"

namespace invar::q5_1 {

struct Block {
    static constexpr int kWeights = 32;
    StoredF16 d;
    StoredF16 m;
    uint8_t tops[4];
    uint8_t nibbles[16];
};
static_assert(sizeof(Block) == 24 && alignof(Block) == 1);

inline constexpr Description kDescription{
    .gguf_type = 7, .nibbles = true, .bits = true, .scales = ScaleForm::f16_minimum};
inline constexpr ScaleField kScaleFields[] = {{"d", ScaleKind::f16, offsetof(Block, d), 0},
                                              {"m", ScaleKind::f16, offsetof(Block, m), 1}};

// Code of weight i, 0 to 31.
inline int code(const Block& block, int i) {
    const int low = i < 16 ? block.nibbles[i] & 15 : block.nibbles[i - 16] >> 4;
    const int top = block.tops[i / 8] >> (i % 8) & 1;
    return low | top << 4;
}

// One rounding: d * code is exact (11 + 5 bits), the sum rounds.
inline float weight(const Block& block, int i) {
    return block.d.value() * static_cast<float>(code(block, i)) + block.m.value();
}

inline void accumulate(const Block& block, const QuantizedBlock* x, int64_t first_block, Strands& strands) {
    int32_t idot = 0;
    for (int i = 0; i < 32; ++i) idot += code(block, i) * x->q[i];
    float& s = strands.of_block(first_block);
    s = std::fma(block.d.value() * x->d, static_cast<float>(idot), s);
    s = std::fma(block.m.value(), x->sx, s);
}

void encode(const float* x, const float* importance, Block& block);
void split(const Block& block, int at, RowRecord& row);  // formats/row_record.h; `at`: block of the record
void join(const RowRecord& row, int at, Block& block);

}  // namespace invar::q5_1
