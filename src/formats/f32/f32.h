// F32: IEEE 754 binary32, little-endian.
//
//   byte  0          1      2       3       4
//       | bits 0-7 | 8-15 | 16-23 | 24-31 |          one weight
//
// Strand step: formats/format.cpp, dot_float (activations stay binary32).
#pragma once

#include <bit>
#include <cstdint>
#include <span>

#include "formats/description.h"

namespace invar::f32 {

struct Block {
    static constexpr int kWeights = 1;
    uint8_t bytes[4];
};
static_assert(sizeof(Block) == 4 && alignof(Block) == 1);

inline constexpr Description kDescription{.gguf_type = 0, .elements = Elements::f32};
inline constexpr std::span<const ScaleField> kScaleFields{};

inline float weight(const Block& block, int) {
    return std::bit_cast<float>(static_cast<uint32_t>(block.bytes[0]) | static_cast<uint32_t>(block.bytes[1]) << 8 |
                                static_cast<uint32_t>(block.bytes[2]) << 16 |
                                static_cast<uint32_t>(block.bytes[3]) << 24);
}

// Keeps every bit, NaN payloads included.
void encode(const float* x, const float* importance, Block& block);

}  // namespace invar::f32
