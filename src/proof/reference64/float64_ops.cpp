// Where the doubles of a tensor are, and the verbs that work row by row. Attention and its cache:
// float64_ops_attention.cpp; experts: float64_ops_experts.cpp.
#include "proof/reference64/float64_ops.h"

#include <algorithm>
#include <cmath>

namespace invar {
namespace {

// A double stands while the float beside it is its rounding; else the float was written by a hook.
void follow(double* wide, const float* rounded, int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
        if (static_cast<float>(wide[i]) != rounded[i]) wide[i] = rounded[i];
    }
}

constexpr int64_t kItemRows = 4 * float64::kProductRows;  // weight rows a thread claims at once

}  // namespace

double* Float64Ops::find(const float* place) const {
    for (size_t i = 0; i < blocks_taken_; ++i) {
        const Block& block = blocks_[i];
        if (place >= block.floats.get() && place < block.floats.get() + block.size)
            return block.doubles.get() + (place - block.floats.get());
    }
    return nullptr;
}

const double* Float64Ops::doubles(const Tensor& tensor) {
    if (tensor.rows() == 0 || find(tensor.host()) == nullptr) return nullptr;
    return input(tensor).data;
}

Float64Ops::Wide Float64Ops::output(Tensor tensor) {
    if (tensor.rows() == 0) return {};
    if (double* found = find(tensor.host())) return {.data = found, .stride = tensor.stride()};
    auto& room = foreign_.emplace_back(new double[static_cast<size_t>(tensor.rows() * tensor.width())]());
    return {.data = room.get(), .stride = tensor.width()};
}

Float64Ops::Wide Float64Ops::input(Tensor tensor) {
    const Wide wide = output(tensor);
    for (int64_t row = 0; row < tensor.rows(); ++row) follow(wide.row(row), tensor.host_row(row), tensor.width());
    return wide;
}

void Float64Ops::inspect(std::string_view verb, Stage stage, int64_t row, const double* values, int64_t count) {
    if (failure_) return;
    const double* bad = std::find_if(values, values + count, [](double value) { return !std::isfinite(value); });
    if (bad == values + count) return;
    failure_ = NonFinite{.verb = std::string(verb),
                         .stage = stage,
                         .row = row,
                         .element = bad - values,
                         .value = static_cast<float>(*bad)};
}

void Float64Ops::finish(std::string_view verb, Stage stage, Tensor out, Wide wide) {
    for (int64_t row = 0; row < out.rows(); ++row) {
        std::copy_n(wide.row(row), out.width(), out.host_row(row));
        inspect(verb, stage, row, wide.row(row), out.width());
    }
    foreign_.clear();
}

Tensor Float64Ops::scratch(int64_t rows, int64_t width) {
    if (blocks_taken_ == blocks_.size()) blocks_.emplace_back();
    Block& block = blocks_[blocks_taken_++];
    if (const int64_t size = rows * width; block.size < size) {
        block = {.floats = std::make_unique<float[]>(static_cast<size_t>(size)),
                 .doubles = std::make_unique<double[]>(static_cast<size_t>(size)),
                 .size = size};
    }
    return {block.floats.get(), Place::host, rows, width, width};
}

void Float64Ops::begin_pass() {
    blocks_taken_ = 0;
    slots_.clear();
    failure_.reset();
}

void Float64Ops::embed(Stage stage, const WeightMatrix& table, const Batch& batch, Tensor out) {
    const Wide wide = output(out);
    for (int64_t row = 0; row < out.rows(); ++row) {
        float64::embed(table, batch.rows[static_cast<size_t>(row)].token, rooms_[0].decoder, wide.row(row));
    }
    finish("embed", stage, out, wide);
}

void Float64Ops::rms_norm(Stage stage, Tensor x, const WeightVector& weight, float epsilon, Tensor y) {
    const Wide in = input(x), wide = output(y);
    for (int64_t row = 0; row < x.rows(); ++row) {
        for (int64_t i = 0; i < x.width(); i += weight.size)
            float64::rms_norm(in.row(row) + i, weight, epsilon, wide.row(row) + i);
    }
    finish("rms_norm", stage, y, wide);
}

void Float64Ops::multiply(const WeightMatrix& matrix, std::span<const double* const> x, std::span<double* const> y) {
    std::vector<std::vector<double>> rows;
    std::vector<const double*> given;
    if (activations_ == float64::Activations::quantised && !matrix.format->is_float) {
        for (const double* row : x) given.push_back(rows.emplace_back(float64::quantised(row, matrix.columns)).data());
        x = given;
    }
    const int64_t items = (matrix.rows + kItemRows - 1) / kItemRows;
    pool_.parallel_items(items, [&](int64_t item, int worker) {
        const int64_t first = item * kItemRows;
        float64::multiply(
            {.matrix = matrix, .first = first, .count = std::min(kItemRows, matrix.rows - first), .x = x, .y = y},
            rooms_[static_cast<size_t>(worker)]);
    });
}

void Float64Ops::linear(Stage stage, const WeightMatrix& weight, Tensor x, Tensor y) {
    const Wide in = input(x), wide = output(y);
    std::vector<const double*> from;
    std::vector<double*> to;
    for (int64_t row = 0; row < x.rows(); ++row) {
        from.push_back(in.row(row));
        to.push_back(wide.row(row));
    }
    multiply(weight, from, to);
    finish("linear", stage, y, wide);
}

void Float64Ops::add_bias(Stage stage, Tensor y, const WeightVector& bias) {
    const Wide wide = input(y);
    for (int64_t row = 0; row < y.rows(); ++row) {
        for (int64_t i = 0; i < y.width(); ++i) wide.row(row)[i] += bias.data[i];
    }
    finish("add_bias", stage, y, wide);
}

void Float64Ops::rope(Stage stage, const RopeTable& table, const Batch& batch, Tensor x) {
    const Wide wide = input(x);
    const float64::Rope rope(table.spec());
    for (int64_t row = 0; row < x.rows(); ++row)
        rope.turn(batch.rows[static_cast<size_t>(row)].position, wide.row(row), x.width());
    finish("rope", stage, x, wide);
}

void Float64Ops::silu_multiply(Stage stage, Tensor gate, Tensor up, Tensor out) {
    const Wide gates = input(gate), ups = input(up), wide = output(out);
    pool_.parallel_items(out.rows(), [&](int64_t row, int) {
        for (int64_t i = 0; i < out.width(); ++i) wide.row(row)[i] = float64::silu(gates.row(row)[i]) * ups.row(row)[i];
    });
    finish("silu_multiply", stage, out, wide);
}

void Float64Ops::add(Stage stage, Tensor x, Tensor y) {
    const Wide wide = input(x), other = input(y);
    for (int64_t row = 0; row < x.rows(); ++row) {
        for (int64_t i = 0; i < x.width(); ++i) wide.row(row)[i] += other.row(row)[i];
    }
    finish("add", stage, x, wide);
}

void Float64Ops::gather_rows(Stage stage, Tensor x, std::span<const int32_t> rows, Tensor out) {
    const Wide in = input(x), wide = output(out);
    for (int64_t row = 0; row < out.rows(); ++row)
        std::copy_n(in.row(rows[static_cast<size_t>(row)]), out.width(), wide.row(row));
    finish("gather_rows", stage, out, wide);
}

}  // namespace invar
