// FP8 E4M3FN with a binary32 scale for each 128 columns: a row of a matrix whose scales form a grid, usually of
// 128 x 128 (weight_scale_inv of DeepSeek and Qwen, a multiplier in spite of its name). 8.25 bits per weight here; the
// scales of a file's grid are not repeated for each row, and packed rows share them four by four (layout/record.h).
//
//   byte  0       4                          132
//       | scale | c0 | c1 | ... | c127 |          weight i = (e4m3(c_i) / 256) * (scale * 256), rounded once
//        f32     E4M3FN
//
// The factors 256 change no bit of a finite weight; a code is read as the binary16 of the same bits, value / 256, and
// multiplied once. (A scale from 2^120 on becomes infinite, and the weights with it.) BF16 and UE8M0 scales of files
// widen exactly to binary32. A row may end inside a block, whose codes behind its end are 0 and no weights.
// SafeTensors only: GGUF has no such type. Strand step: formats/format.cpp, dot_float (activations stay binary32).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "arithmetic/float_types.h"
#include "formats/description.h"
#include "formats/stored.h"

namespace invar::f8_e4m3_b128 {

struct Block {
    static constexpr int kWeights = 128;
    StoredF32 scale;
    uint8_t codes[128];
};
static_assert(sizeof(Block) == 132 && alignof(Block) == 1);

inline constexpr Description kDescription{.elements = Elements::e4m3, .scales = ScaleForm::f32_of_128};
inline constexpr ScaleField kScaleFields[] = {{"scale", ScaleKind::f32, offsetof(Block, scale), 0}};

inline float weight(const Block& block, int i) {
    return (e4m3_to_f32(block.codes[i]) * 0x1p-8f) * (block.scale.value() * 256.0f);
}

// The scale is the largest magnitude / 448, 1 for a block of zeros; codes are rounded to nearest even. NaN stays NaN,
// infinities become the largest weight of the block.
void encode(const float* x, const float* importance, Block& block);

}  // namespace invar::f8_e4m3_b128
