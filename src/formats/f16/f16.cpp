// F16 encoder: rounds once (arithmetic/float_types.h). Layout: f16.h.
#include "formats/f16/f16.h"

namespace invar::f16 {

void encode(const float* x, const float*, Block& block) {
    const uint16_t bits = f32_to_f16(*x);
    block.low = static_cast<uint8_t>(bits & 0xFF);
    block.high = static_cast<uint8_t>(bits >> 8);
}

}  // namespace invar::f16
