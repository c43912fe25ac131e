// INT4 in groups of 32 (compressed-tensors, pack-quantized, symmetric): 32 weights, one bfloat16 scale, signed
// 4-bit codes. 4.5 bits per weight, as in the file.
//
//   byte  0   2                                       18
//       | d | c0,c1 | c2,c3 | ... | c30,c31 |          weight i = d * (c_i - 8)
//        bf16 low nibble: the even column, high nibble: the odd one
//
// The nibbles are in the order of the file's words of 32 bits, eight codes each, the first in the lowest bits.
// SafeTensors only: GGUF has no such type. Next: formats/int4_g128 (groups of 128), formats/q4_0 (the same with a
// binary16 scale: what a file of groups of 32 with F16 scales becomes, to the bit).
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>

#include "arithmetic/dot.h"
#include "formats/description.h"
#include "formats/row_record.h"
#include "formats/stored.h"

namespace invar::int4_g32 {

struct Block {
    static constexpr int kWeights = 32;
    StoredBF16 d;
    uint8_t nibbles[16];
};
static_assert(sizeof(Block) == 18 && alignof(Block) == 1);

inline constexpr Description kDescription{.nibbles = true, .offset = 8, .scales = ScaleForm::bf16};
inline constexpr ScaleField kScaleFields[] = {{"d", ScaleKind::bf16, offsetof(Block, d), 0}};

// Signed code of weight i, -8 to 7.
inline int code(const Block& block, int i) { return (block.nibbles[i / 2] >> (4 * (i % 2)) & 15) - 8; }

// Exact: 8 + 4 bits.
inline float weight(const Block& block, int i) { return block.d.value() * static_cast<float>(code(block, i)); }

inline void accumulate(const Block& block, const QuantisedBlock* x, int64_t first_block, Strands& strands) {
    int32_t idot = 0;
    for (int i = 0; i < 32; ++i) idot += code(block, i) * x->q[i];
    float& s = strands.of_block(first_block);
    s = std::fma(block.d.value() * x->d, static_cast<float>(idot), s);
}

// The largest magnitude becomes -8 or 7, or a little more where that is the smaller error (scale_search.h).
void encode(const float* x, const float* importance, Block& block);
void split(const Block& block, int at, RowRecord& row);
void join(const RowRecord& row, int at, Block& block);

}  // namespace invar::int4_g32
