// The row kernels for one instruction set; the code is in row_kernels_body.h and
// recurrence_kernels_body.h.
#include "cpu/simd_avx2.h"
//
#include "cpu/elementary_body.h"
//
#include "cpu/row_kernels_body.h"
//
#include "cpu/recurrence_kernels_body.h"

namespace invar {

constinit const RowKernels kRowKernelsAvx2 = make_row_kernels("avx2", Isa::avx2);

}  // namespace invar
