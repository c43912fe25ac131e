// The vector kernels of the table in linear.cpp. All read StoredForm::rows4 weights of the quantised formats and
// ActivationForm::lanes, and equal dot_quantized() bit for bit.
//   direct: for few tokens. Weights are unpacked in registers and used once; all strands stay in registers for the
//           whole row.
//   tiles:  for many tokens. A panel of rows is unpacked to bytes in the L1 cache and then used by tiles of row pairs x
//           tokens.
#pragma once

#include "cpu/linear.h"

namespace invar {

void linear_direct_avx2(const LinearTask& task);
void linear_tiles_avx2(const LinearTask& task);
void linear_direct_avx_vnni(const LinearTask& task);
void linear_tiles_avx_vnni(const LinearTask& task);
void linear_direct_avx512(const LinearTask& task);
void linear_tiles_avx512(const LinearTask& task);
void linear_tiles_amx(const LinearTask& task);  // reads ActivationForm::strands

}  // namespace invar
