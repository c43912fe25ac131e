// E2M1, the 4-bit codes of MXFP4 and NVFP4: the sign is bit 3, the magnitudes are 0, .5, 1, 1.5, 2, 3, 4, 6. Codes are
// held doubled, as integers, and the scale beside them is halved, so that a dot with activations is an integer dot.
#pragma once

#include <cmath>
#include <cstdint>

namespace invar {

// 2 * e2m1(code). Code 8, minus zero, becomes plain zero.
inline constexpr int8_t kDoubledE2M1[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

// The code whose doubled value is nearest to v (saturating). A tie goes to the code with an even mantissa bit; a value
// that rounds to zero becomes code 0, never 8.
inline int nearest_e2m1(float v) {
    const float a = std::fabs(v);
    const int index = (a > 0.5f) + (a >= 1.5f) + (a > 2.5f) + (a >= 3.5f) + (a > 5.0f) + (a >= 7.0f) + (a > 10.0f);
    return v < 0.0f && index != 0 ? index | 8 : index;
}

// For scale_search.h.
struct E2M1Codes {
    float nearest(float v) const { return kDoubledE2M1[nearest_e2m1(v)]; }
};

}  // namespace invar
