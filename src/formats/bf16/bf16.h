// BF16: bfloat16, the upper half of a binary32, little-endian.
//
//   byte  0                          1                     2
//       | mantissa 0-6, exponent 0 | exponent 1-7, sign |          one weight
//
// Strand step: formats/format.cpp, dot_float (activations stay binary32).
#pragma once

#include <cstdint>
#include <span>

#include "arithmetic/float_types.h"
#include "formats/description.h"

namespace invar::bf16 {

struct Block {
    static constexpr int kWeights = 1;
    uint8_t low, high;
};
static_assert(sizeof(Block) == 2 && alignof(Block) == 1);

inline constexpr Description kDescription{.gguf_type = 30, .elements = Elements::bf16};
inline constexpr std::span<const ScaleField> kScaleFields{};

inline float weight(const Block& block, int) { return bf16_to_f32(static_cast<uint16_t>(block.low | block.high << 8)); }

// Round to nearest even. NaN stays NaN.
void encode(const float* x, const float* importance, Block& block);

}  // namespace invar::bf16
