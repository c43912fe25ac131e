// INT4 in groups of 32: 32 weights, one bfloat16 scale, signed 4-bit codes; 18 bytes, 4.5 bits per weight, as in the
// file. The drawing and the law: formats/int4_groups.h.
// SafeTensors only: GGUF has no such type. Next: formats/int4_g128 (groups of 128), formats/q4_0 (the same with a
// binary16 scale: what a file of groups of 32 with F16 scales becomes, to the bit).
#pragma once

#include <cstddef>

#include "formats/int4_groups.h"

namespace invar::int4_g32 {

using Block = int4_groups::Group<StoredBF16, 32>;
static_assert(sizeof(Block) == 18 && alignof(Block) == 1);

inline constexpr Description kDescription{.nibbles = true, .offset = 8, .scales = ScaleForm::bf16};
inline constexpr ScaleField kScaleFields[] = {{"d", ScaleKind::bf16, offsetof(Block, d), 0}};

using int4_groups::accumulate;
using int4_groups::code;
using int4_groups::encode;
using int4_groups::join;
using int4_groups::split;
using int4_groups::weight;

}  // namespace invar::int4_g32
