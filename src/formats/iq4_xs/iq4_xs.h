// IQ4_XS: 256 weights in 8 sub-blocks of 32; signed 6-bit scales; indices into IQ4_NL's levels. 4.25 bits per weight.
//
//   byte  0   2             4                8                       136
//       | d | scale_tops | scale_lows: 4 B | nibbles: 8 x 16 bytes |     weight i = d * (ls_{i/32} - 32) * kLevels[c_i]
//        f16  16 bits
//
//   c_i for i = 32b + 16n + j: nibble n (0 low, 1 high) of nibbles[16b + j].
//   scale b (6 bits): low 4 = nibble b % 2 of scale_lows[b / 2]; top 2 = bits 2b, 2b + 1 of scale_tops (little-endian).
// Next: formats/iq4_nl for the levels, docs/arithmetic.md section 1 for the strand step.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>

#include "arithmetic/dot.h"
#include "formats/description.h"
#include "formats/iq4_nl/iq4_nl.h"
#include "formats/row_record.h"
#include "formats/stored.h"

namespace invar::iq4_xs {

struct Block {
    static constexpr int kWeights = 256;
    StoredF16 d;
    uint8_t scale_tops[2];
    uint8_t scale_lows[4];
    uint8_t nibbles[128];
};
static_assert(sizeof(Block) == 136 && alignof(Block) == 1);

inline constexpr Description kDescription{
    .gguf_type = 23, .nibbles = true, .levels = CodeLevels::iq4, .offset = 128, .scales = ScaleForm::iq4_xs};
inline constexpr ScaleField kScaleFields[] = {{"d", ScaleKind::f16, offsetof(Block, d), 0}};

// The level of weight l of sub-block b (0 <= b < 8, 0 <= l < 32), -127 to 113.
inline int code(const Block& block, int b, int l) {
    const uint8_t* bytes = block.nibbles + 16 * b;
    return iq4_nl::kLevels[l < 16 ? bytes[l] & 15 : bytes[l - 16] >> 4];
}

// Signed scale of sub-block b, -32 to 31.
inline int scale(const Block& block, int b) {
    const int low = block.scale_lows[b / 2] >> (4 * (b % 2)) & 15;
    const int top = block.scale_tops[b / 4] >> (2 * (b % 4)) & 3;
    return (low | top << 4) - 32;
}

// Exact: the factors have 11, 5 and 7 significant bits (-32 is a power of two).
inline float weight(const Block& block, int i) {
    const float dl = block.d.value() * static_cast<float>(scale(block, i / 32));
    return dl * static_cast<float>(code(block, i / 32, i % 32));
}

inline void accumulate(const Block& block, const QuantizedBlock* x, int64_t first_block, Strands& strands) {
    for (int b = 0; b < 8; ++b) {
        int32_t idot = 0;
        for (int l = 0; l < 32; ++l) idot += code(block, b, l) * x[b].q[l];
        const float dl = block.d.value() * static_cast<float>(scale(block, b));  // exact
        float& s = strands.of_block(first_block + b);
        s = std::fma(dl * x[b].d, static_cast<float>(idot), s);
    }
}

void encode(const float* x, const float* importance, Block& block);
void split(const Block& block, int at, RowRecord& row);  // formats/row_record.h; `at`: block of the record
void join(const RowRecord& row, int at, Block& block);

}  // namespace invar::iq4_xs
