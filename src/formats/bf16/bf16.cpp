// BF16 encoder: rounds once (arithmetic/float_types.h). Layout: bf16.h.
#include "formats/bf16/bf16.h"

namespace invar::bf16 {

void encode(const float* x, const float*, Block& block) {
    const uint16_t bits = f32_to_bf16(*x);
    block.low = static_cast<uint8_t>(bits & 0xFF);
    block.high = static_cast<uint8_t>(bits >> 8);
}

}  // namespace invar::bf16
