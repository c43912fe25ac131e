// INT4 in groups of 128: 128 weights, one binary16 scale, signed 4-bit codes; 66 bytes, 4.125 bits per weight, as in
// the file. The drawing and the law: formats/int4_groups.h.
// SafeTensors only: GGUF has no such type. Next: formats/int4_g128 (the same with bfloat16 scales).
#pragma once

#include <cstddef>

#include "formats/int4_groups.h"

namespace invar::int4_g128_f16 {

using Block = int4_groups::Group<StoredF16, 128>;
static_assert(sizeof(Block) == 66 && alignof(Block) == 1);

inline constexpr Description kDescription{.nibbles = true, .offset = 8, .scales = ScaleForm::f16_of_128};
inline constexpr ScaleField kScaleFields[] = {{"d", ScaleKind::f16, offsetof(Block, d), 0}};

using int4_groups::accumulate;
using int4_groups::code;
using int4_groups::encode;
using int4_groups::join;
using int4_groups::split;
using int4_groups::weight;

}  // namespace invar::int4_g128_f16
