// The scalar float product: the dot law row by row, on rows as in the file.
#include "cpu/float_products.h"

#include "base/check.h"

namespace invar {

void float_product_scalar(const LinearTask& task) {
    const WeightMatrix& weight = *task.weight;
    const int64_t stride = activation_bytes(ActivationForm::rows, weight.columns);
    const int64_t row_bytes = weight.format->row_bytes(weight.columns);
    CHECK(weight.form != StoredForm::rows4 || row_bytes <= kLinearScratchBytes, "a row fits the worker's scratch");
    for (int64_t row = task.first_row; row < task.last_row; ++row) {
        const std::byte* stored = weight.data + row * row_bytes;
        if (weight.form == StoredForm::rows4) {
            unpack_row(*weight.format, weight.data, weight.rows, weight.columns, row, task.worker_scratch);
            stored = task.worker_scratch;
        }
        for (int64_t token = 0; token < task.tokens; ++token) {
            const auto* x = reinterpret_cast<const float*>(task.activations + token * stride);
            task.out[token * task.out_stride + row] = dot_float(*weight.format, stored, x, weight.columns);
        }
    }
}

}  // namespace invar
