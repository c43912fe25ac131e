// F32 encoder: copies the bits, little-endian. Layout: f32.h.
#include "formats/f32/f32.h"

namespace invar::f32 {

void encode(const float* x, const float*, Block& block) {
    const uint32_t bits = std::bit_cast<uint32_t>(*x);
    for (int i = 0; i < 4; ++i) block.bytes[i] = static_cast<uint8_t>(bits >> (8 * i));
}

}  // namespace invar::f32
