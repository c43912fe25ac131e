// INT4 in groups of 128 (compressed-tensors, pack-quantized, symmetric): 128 weights, one bfloat16 scale, signed
// 4-bit codes. 4.125 bits per weight, as in the file.
//
//   byte  0   2                                       66
//       | d | c0,c1 | c2,c3 | ... | c126,c127 |          weight i = d * (c_i - 8)
//        bf16 low nibble: the even column, high nibble: the odd one
//
// The nibbles are in the order of the file's words of 32 bits, eight codes each, the first in the lowest bits.
// SafeTensors only: GGUF has no such type. Next: formats/int4_g128_f16 (the same with binary16 scales),
// formats/int4_g32.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>

#include "arithmetic/dot.h"
#include "formats/description.h"
#include "formats/row_record.h"
#include "formats/stored.h"

namespace invar::int4_g128 {

struct Block {
    static constexpr int kWeights = 128;
    StoredBF16 d;
    uint8_t nibbles[64];
};
static_assert(sizeof(Block) == 66 && alignof(Block) == 1);

inline constexpr Description kDescription{.nibbles = true, .offset = 8, .scales = ScaleForm::bf16_of_128};
inline constexpr ScaleField kScaleFields[] = {{"d", ScaleKind::bf16, offsetof(Block, d), 0}};

// Signed code of weight i, -8 to 7.
inline int code(const Block& block, int i) { return (block.nibbles[i / 2] >> (4 * (i % 2)) & 15) - 8; }

// Exact: 8 + 4 bits.
inline float weight(const Block& block, int i) { return block.d.value() * static_cast<float>(code(block, i)); }

inline void accumulate(const Block& block, const QuantisedBlock* x, int64_t first_block, Strands& strands) {
    for (int b = 0; b < 4; ++b) {
        int32_t idot = 0;
        for (int i = 0; i < 32; ++i) idot += code(block, 32 * b + i) * x[b].q[i];
        float& s = strands.of_block(first_block + b);
        s = std::fma(block.d.value() * x[b].d, static_cast<float>(idot), s);
    }
}

// The largest magnitude becomes -8 or 7, or a little more where that is the smaller error (scale_search.h).
void encode(const float* x, const float* importance, Block& block);
void split(const Block& block, int at, RowRecord& row);
void join(const RowRecord& row, int at, Block& block);

}  // namespace invar::int4_g128
