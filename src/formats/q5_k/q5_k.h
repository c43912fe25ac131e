// Q5_K: 256 weights in 8 sub-blocks of 32; 6-bit scales and minima; 5-bit codes. 5.5 bits per weight.
//
//   byte  0   2      4                 16             48                      176
//       | d | dmin | scales: 12 bytes | tops: 32 B  | nibbles: 4 x 32 bytes |
//        f16  f16    as in q4_k.h
//
//   weight i = d * sc_{i/32} * c_i - dmin * m_{i/32}
//   c_i for i = 64p + 32n + l: bits 0-3 = nibble n (0 low, 1 high) of nibbles[32p + l]; bit 4 = bit i/32 of tops[l].
// Next: formats/q4_k for the packed scales, docs/arithmetic.md section 1 for the strand step.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>

#include "arithmetic/dot.h"
#include "formats/description.h"
#include "formats/q4_k/q4_k.h"
#include "formats/row_record.h"
#include "formats/stored.h"

namespace invar::q5_k {

struct Block {
    static constexpr int kWeights = 256;
    StoredF16 d;
    StoredF16 dmin;
    q4_k::PackedScales scales;
    uint8_t tops[32];
    uint8_t nibbles[128];
};
static_assert(sizeof(Block) == 176 && alignof(Block) == 1);

inline constexpr Description kDescription{.gguf_type = 13, .nibbles = true, .bits = true, .scales = ScaleForm::six_bit};
inline constexpr ScaleField kScaleFields[] = {{"d", ScaleKind::f16, offsetof(Block, d), 0},
                                              {"dmin", ScaleKind::f16, offsetof(Block, dmin), 1}};

// Code of weight l of sub-block b (0 <= b < 8, 0 <= l < 32), 0 to 31.
inline int code(const Block& block, int b, int l) {
    const int low = block.nibbles[32 * (b / 2) + l] >> (4 * (b % 2)) & 15;
    const int top = block.tops[l] >> b & 1;
    return low | top << 4;
}

// One rounding: both products are exact (11 + 6 + 5 and 11 + 6 bits), the difference rounds.
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

}  // namespace invar::q5_k
