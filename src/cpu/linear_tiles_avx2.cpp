// The kernel for many tokens on AVX2; the code is in linear_tiles_ymm_body.h.
#include "cpu/linear_dot_maddubs.h"
//
#include "cpu/linear_tiles_ymm_body.h"

namespace invar {

void linear_tiles_avx2(const LinearTask& task) { kTiles.entries[static_cast<int>(task.weight->format->id)](task); }

}  // namespace invar
