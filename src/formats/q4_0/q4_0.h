// Q4_0: 32 weights, one scale, signed 4-bit codes. 4.5 bits per weight.
//
//   byte  0   2                                   18
//       | d | c0,c16 | c1,c17 | ... | c15,c31 |          weight i = d * (c_i - 8)
//        f16  low nibble: weight j, high nibble: weight j + 16
//
// Next: formats/q4_1 (the same with a minimum), docs/arithmetic.md section 1 for the strand step.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>

#include "arithmetic/dot.h"
#include "formats/description.h"
#include "formats/row_record.h"
#include "formats/stored.h"

namespace invar::q4_0 {

struct Block {
    static constexpr int kWeights = 32;
    StoredF16 d;
    uint8_t nibbles[16];
};
static_assert(sizeof(Block) == 18 && alignof(Block) == 1);

inline constexpr Description kDescription{.gguf_type = 2, .nibbles = true, .offset = 8, .scales = ScaleForm::f16};
inline constexpr ScaleField kScaleFields[] = {{"d", ScaleKind::f16, offsetof(Block, d), 0}};

// Signed code of weight i, -8 to 7.
inline int code(const Block& block, int i) { return (i < 16 ? block.nibbles[i] & 15 : block.nibbles[i - 16] >> 4) - 8; }

// Exact: the factors have 11 and 4 significant bits.
inline float weight(const Block& block, int i) { return block.d.value() * static_cast<float>(code(block, i)); }

inline void accumulate(const Block& block, const QuantizedBlock* x, int64_t first_block, Strands& strands) {
    int32_t idot = 0;
    for (int i = 0; i < 32; ++i) idot += code(block, i) * x->q[i];
    float& s = strands.of_block(first_block);
    s = std::fma(block.d.value() * x->d, static_cast<float>(idot), s);
}

void encode(const float* x, const float* importance, Block& block);
void split(const Block& block, int at, RowRecord& row);  // formats/row_record.h; `at`: block of the record
void join(const RowRecord& row, int at, Block& block);

}  // namespace invar::q4_0
