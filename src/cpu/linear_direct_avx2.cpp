// The kernel for few tokens on AVX2; the code is in linear_direct_ymm_body.h.
#include "cpu/linear_dot_maddubs.h"
//
#include "cpu/linear_direct_ymm_body.h"

namespace invar {

void linear_direct_avx2(const LinearTask& task) { kDirect.entries[static_cast<int>(task.weight->format->id)](task); }

}  // namespace invar
