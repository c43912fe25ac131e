// The attention kernels for one instruction set; the code is in attention_kernels_body.h.
#include "cpu/simd_avx2.h"
//
#include "cpu/elementary_body.h"
//
#include "cpu/attention_kernels_body.h"

namespace invar {

constinit const AttentionKernels kAttentionKernelsAvx2 = make_attention_kernels("avx2", Isa::avx2);

}  // namespace invar
