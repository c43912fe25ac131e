// IQ4_NL: 32 weights, one scale, 4-bit indices into a fixed non-linear table. 4.5 bits per weight.
//
//   byte  0   2                                   18
//       | d | c0,c16 | c1,c17 | ... | c15,c31 |          weight i = d * kLevels[c_i]
//        f16  low nibble: weight j, high nibble: weight j + 16
//
// Next: formats/iq4_xs (the same levels with 6-bit scales), docs/arithmetic.md section 1 for the strand step.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>

#include "arithmetic/dot.h"
#include "formats/description.h"
#include "formats/row_record.h"
#include "formats/stored.h"

namespace invar::iq4_nl {

// The levels of the GGUF specification; int8, dense near zero. Not symmetric, and none of them is 0.
inline constexpr int8_t kLevels[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

struct Block {
    static constexpr int kWeights = 32;
    StoredF16 d;
    uint8_t nibbles[16];
};
static_assert(sizeof(Block) == 18 && alignof(Block) == 1);

inline constexpr Description kDescription{
    .gguf_type = 20, .nibbles = true, .levels = CodeLevels::iq4, .offset = 128, .scales = ScaleForm::f16};
inline constexpr ScaleField kScaleFields[] = {{"d", ScaleKind::f16, offsetof(Block, d), 0}};

// The level of weight i, -127 to 113.
inline int code(const Block& block, int i) {
    return kLevels[i < 16 ? block.nibbles[i] & 15 : block.nibbles[i - 16] >> 4];
}

// Exact: the factors have 11 and 7 significant bits.
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

}  // namespace invar::iq4_nl
