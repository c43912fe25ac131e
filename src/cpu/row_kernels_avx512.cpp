// The row kernels for one instruction set; the code is in row_kernels_body.h and
// recurrence_kernels_body.h.
#include "cpu/simd_avx512.h"
//
#include "cpu/elementary_body.h"
//
#include "cpu/row_kernels_body.h"
//
#include "cpu/recurrence_kernels_body.h"

namespace invar {

constinit const RowKernels kRowKernelsAvx512 = make_row_kernels("avx512", Isa::avx512);

}  // namespace invar
