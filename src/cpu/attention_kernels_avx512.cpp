// The attention kernels for one instruction set; the code is in attention_kernels_body.h.
#include "cpu/simd_avx512.h"
//
#include "cpu/elementary_body.h"
//
#include "cpu/attention_kernels_body.h"

namespace invar {

constinit const AttentionKernels kAttentionKernelsAvx512 = make_attention_kernels("avx512", Isa::avx512);

}  // namespace invar
