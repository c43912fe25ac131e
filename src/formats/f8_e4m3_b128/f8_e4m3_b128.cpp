// FP8 encoder with one scale per 128 weights: the largest magnitude becomes 448. Layout: f8_e4m3_b128.h.
#include "formats/f8_e4m3_b128/f8_e4m3_b128.h"

#include <cmath>

namespace invar::f8_e4m3_b128 {

void encode(const float* x, const float*, Block& block) {
    float amax = 0.0f;
    for (int i = 0; i < Block::kWeights; ++i) {
        const float a = std::fabs(x[i]);
        if (a > amax && std::isfinite(a)) amax = a;
    }
    // Below 2^-100 the inverse would overflow; such blocks keep the scale 1 and round to zeros.
    const float scale = amax < 0x1p-100f ? 1.0f : amax / 448.0f;
    const float inverse = 1.0f / scale;
    block.scale = StoredF32::from(scale);
    for (int i = 0; i < Block::kWeights; ++i) block.codes[i] = f32_to_e4m3(x[i] * inverse);
}

}  // namespace invar::f8_e4m3_b128
