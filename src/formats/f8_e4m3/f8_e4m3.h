// FP8 E4M3FN: one byte per weight and no scale in the block. 8 bits per weight.
//
//   byte  0                                 1
//       | mantissa 0-2, exponent 3-6, sign 7 |          one weight: e4m3_to_f32 in arithmetic/float_types.h
//
// Bias 7, largest value 448, subnormal step 2^-9, no infinities. 0x7F and 0xFF are NaN, and so is every product with
// them. The scale of the tensor, or one scale per row (per channel), is kept beside the matrix and multiplies y
// (ops/weight.h). SafeTensors only: GGUF has no such type. Strand step: formats/format.cpp, dot_float (activations stay
// binary32). Next: formats/f8_e4m3_b128 (scales in a grid).
#pragma once

#include <cstdint>
#include <span>

#include "arithmetic/float_types.h"
#include "formats/description.h"

namespace invar::f8_e4m3 {

struct Block {
    static constexpr int kWeights = 1;
    uint8_t code;
};
static_assert(sizeof(Block) == 1 && alignof(Block) == 1);

inline constexpr Description kDescription{.elements = Elements::e4m3};
inline constexpr std::span<const ScaleField> kScaleFields{};

inline float weight(const Block& block, int) { return e4m3_to_f32(block.code); }

// Rounds to nearest even; magnitudes above 448 become 448. NaN stays NaN.
void encode(const float* x, const float* importance, Block& block);

}  // namespace invar::f8_e4m3
