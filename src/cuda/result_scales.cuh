// The scales beside a format, which multiply the results of a product: the tensor's (or an expert's own), then the
// row's. Each is one binary32 multiplication, left out if there is no such scale. Equal to scaled() in ops/weight.h.
// Products use it in linear_decode.cuh and linear_tiles.cuh, embeddings in row_kernels.cuh.
#pragma once

#include "cuda/simt.h"

namespace invar::cuda {

struct ResultScales {
    float tensor = 1;
    simt::Global<const float> experts;  // [experts], in place of `tensor`; or empty
    simt::Global<const float> rows;     // [rows], with experts [experts][rows]; or empty
};

// `row` must exist; `rows` is the number of rows of a matrix; `expert` is 0 if there are none.
SIMT_DEVICE float scaled(const ResultScales& scales, int64_t expert, int64_t row, int64_t rows, float y) {
    const float tensor = simt::is_null(scales.experts) ? scales.tensor : scales.experts[expert];
    if (tensor != 1.0f) y = y * tensor;
    if (!simt::is_null(scales.rows)) y = y * scales.rows[expert * rows + row];
    return y;
}

}  // namespace invar::cuda
