// F16: IEEE 754 binary16, little-endian.
//
//   byte  0              1                              2
//       | mantissa 0-7 | mantissa 8-9, exponent, sign |          one weight
//
// Strand step: formats/format.cpp, dot_float (activations stay binary32).
#pragma once

#include <cstdint>
#include <span>

#include "arithmetic/float_types.h"
#include "formats/description.h"

namespace invar::f16 {

struct Block {
    static constexpr int kWeights = 1;
    uint8_t low, high;
};
static_assert(sizeof(Block) == 2 && alignof(Block) == 1);

inline constexpr Description kDescription{.gguf_type = 1, .elements = Elements::f16};
inline constexpr std::span<const ScaleField> kScaleFields{};

inline float weight(const Block& block, int) { return f16_to_f32(static_cast<uint16_t>(block.low | block.high << 8)); }

// Round to nearest even; magnitudes from 65520 on become infinity. NaN stays NaN.
void encode(const float* x, const float* importance, Block& block);

}  // namespace invar::f16
