// Whether the CPU has AVX-512 VBMI, the permutations of single bytes. The avx512 tier (isa.h) does not include them,
// because Cascade Lake lacks them; kernels that use them are rows of their own, and are chosen where that tier runs.
#pragma once

namespace invar {

bool has_avx512_vbmi();  // asks CPUID once and keeps the answer

}  // namespace invar
