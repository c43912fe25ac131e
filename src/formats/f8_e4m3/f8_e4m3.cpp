// FP8 encoder: rounds once (arithmetic/float_types.h). Layout: f8_e4m3.h.
#include "formats/f8_e4m3/f8_e4m3.h"

namespace invar::f8_e4m3 {

void encode(const float* x, const float*, Block& block) { block.code = f32_to_e4m3(*x); }

}  // namespace invar::f8_e4m3
