// The kernel for many tokens on AVX-VNNI; the code is in linear_tiles_ymm_body.h.
#include "cpu/linear_dot_dpbusd.h"
//
#include "cpu/linear_tiles_ymm_body.h"

namespace invar {

void linear_tiles_avx_vnni(const LinearTask& task) { kTiles.entries[static_cast<int>(task.weight->format->id)](task); }

}  // namespace invar
