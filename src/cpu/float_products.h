// Products of float weights (f32, f16, bf16, f8_*) and binary32 activations, each equal bit for bit to dot_float()
// (formats/format.h). These are the `run` functions of the float rows of the table in linear.h, which decides when each
// is chosen. A float record of rows4 (layout/rows4.h) has, per 4 rows x 256 columns and for i in 0..31, 4 rows x 8
// lanes; lane b is column 32 b + i. Scales of a grid stand before the records (layout/record.h).
#pragma once

#include "cpu/linear.h"

namespace invar {

// Takes any float format, as_stored or rows4. Reads ActivationForm::rows.
void float_product_scalar(const LinearTask& task);
// These take any float format, rows4 only, and read ActivationForm::float_lanes. Padding columns hold x = -0 there and
// w = +0 in the records, which adds -0 to a strand and so changes nothing.
void float_product_avx2(const LinearTask& task);
void float_product_avx512(const LinearTask& task);
void float_product_avx512_vbmi(const LinearTask& task);  // what it gains are FP8 codes looked up whole

}  // namespace invar
