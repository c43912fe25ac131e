// MXFP4 (OCP microscaling): 32 weights, one power-of-two scale, E2M1 codes. 4.25 bits per weight.
//
//   byte  0   1                                   17
//       | e | c0,c16 | c1,c17 | ... | c15,c31 |          weight i = 2^(e - 127) * e2m1(c_i)
//       E8M0  low nibble: weight j, high nibble: weight j + 16
//
// Codes (e2m1.h) are held doubled, so the scale is halved (e8m0_half_to_f32). e = 255 is NaN in the OCP text, but 2^128
// here and in the GGUF readers; the encoder never writes it.
// Next: formats/nvfp4 (the same codes, finer scales), docs/arithmetic.md section 1 for the strand step.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>

#include "arithmetic/dot.h"
#include "formats/description.h"
#include "formats/e2m1.h"
#include "formats/row_record.h"
#include "formats/stored.h"

namespace invar::mxfp4 {

struct Block {
    static constexpr int kWeights = 32;
    uint8_t e;
    uint8_t nibbles[16];
};
static_assert(sizeof(Block) == 17 && alignof(Block) == 1);

inline constexpr Description kDescription{
    .gguf_type = 39, .nibbles = true, .levels = CodeLevels::e2m1, .offset = 12, .scales = ScaleForm::e8m0};
inline constexpr ScaleField kScaleFields[] = {{"e", ScaleKind::e8m0, offsetof(Block, e), 0}};

// Twice the E2M1 value of weight i, -12 to 12.
inline int code(const Block& block, int i) {
    return kDoubledE2M1[i < 16 ? block.nibbles[i] & 15 : block.nibbles[i - 16] >> 4];
}

// Exact, except that the largest codes overflow to infinity from e = 253 on.
inline float weight(const Block& block, int i) {
    return e8m0_half_to_f32(block.e) * static_cast<float>(code(block, i));
}

inline void accumulate(const Block& block, const QuantizedBlock* x, int64_t first_block, Strands& strands) {
    int32_t idot = 0;
    for (int i = 0; i < 32; ++i) idot += code(block, i) * x->q[i];
    float& s = strands.of_block(first_block);
    s = std::fma(e8m0_half_to_f32(block.e) * x->d, static_cast<float>(idot), s);
}

void encode(const float* x, const float* importance, Block& block);
void split(const Block& block, int at, RowRecord& row);  // formats/row_record.h; `at`: block of the record
void join(const RowRecord& row, int at, Block& block);

}  // namespace invar::mxfp4
