#include "embed/embedding_head.h"

#include "arithmetic/elementary.h"
#include "arithmetic/quantize.h"
#include "base/check.h"

namespace invar {

PooledRows::PooledRows(std::span<const Pooling> modes, int64_t width)
    : modes_(modes), width_(width), states_(modes.size() * static_cast<size_t>(width), 0.0f) {}

void PooledRows::add(std::span<const float> rows) {
    CHECK(std::ssize(rows) % width_ == 0, "rows are whole");
    for (; !rows.empty(); rows = rows.subspan(static_cast<size_t>(width_)), ++count_) {
        float* state = states_.data();
        for (const Pooling mode : modes_) {
            law::pool_row(mode, count_, rows.data(), width_, state);
            state += width_;
        }
    }
}

std::vector<float> PooledRows::take() {
    CHECK(count_ > 0, "a text has a row");
    float* state = states_.data();
    for (const Pooling mode : modes_) {
        law::pool_end(mode, count_, width_, state);
        state += width_;
    }
    return std::move(states_);
}

std::vector<float> run_dense(const DenseWeights& weights, DenseActivation activation, std::span<const float> x) {
    const WeightMatrix& matrix = weights.matrix;
    CHECK(matrix.form == StoredForm::as_stored && matrix.columns == std::ssize(x), "a dense layer fits its input");
    const int64_t row_bytes = matrix.format->row_bytes(matrix.columns);
    std::vector<QuantizedBlock> codes;
    if (!matrix.format->is_float) {
        codes.resize(x.size() / kDotBlock);
        quantize_row(x.data(), std::ssize(x), codes.data());
    }
    std::vector<float> y(static_cast<size_t>(matrix.rows));
    for (int64_t row = 0; row < matrix.rows; ++row) {
        const std::byte* bytes = matrix.data + row * row_bytes;
        const float product = matrix.format->is_float
                                  ? dot_float(*matrix.format, bytes, x.data(), matrix.columns)
                                  : dot_quantized(*matrix.format, bytes, codes.data(), matrix.columns);
        float sum = scaled(matrix, row, product);
        if (weights.bias) sum = sum + weights.bias->data[row];
        y[static_cast<size_t>(row)] = activation == DenseActivation::tanh ? law::tanh(sum) : sum;
    }
    return y;
}

void shorten(std::vector<float>& vector, int64_t count, bool unit_length) {
    CHECK(count >= 1 && count <= std::ssize(vector), "a vector is made shorter");
    vector.resize(static_cast<size_t>(count));
    if (unit_length) law::unit_length(vector.data(), count, vector.data());
}

}  // namespace invar
