// Products of float weights (f32, f16, bf16, f8_*) and binary32 activations, each equal bit for bit to dot_float()
// (formats/format.h). These are the `run` functions of the float rows of the table in linear.h; they do not decide when
// they are chosen. rows4 float records (layout/rows4.h): per 4 rows x 256 columns, for i in 0..31, 4 rows x 8 lanes,
// lane b being column 32 b + i; scales of a grid before them (layout/record.h).
#pragma once

#include "cpu/linear.h"

namespace invar {

// Any float format, as_stored or rows4. Reads ActivationForm::rows.
void float_product_scalar(const LinearTask& task);
// Any float format, rows4 only. Read ActivationForm::float_lanes; padding columns hold x = -0 there and w = +0 in the
// records, which adds -0 to a strand and so changes nothing.
void float_product_avx2(const LinearTask& task);
void float_product_avx512(const LinearTask& task);
void float_product_avx512_vbmi(const LinearTask& task);  // what it gains are FP8 codes looked up whole

}  // namespace invar
