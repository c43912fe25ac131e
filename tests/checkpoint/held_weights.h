// Weights that an architecture would declare over tensors made by hand, and all numbers that a reader makes of them.
// Each number of a tensor is its own place in the tensor, so that a test can say where every number of a weight came
// from.
#pragma once

#include <gtest/gtest.h>

#include <numeric>

#include "checkpoint/binding.h"
#include "checkpoint/tiny_directory.h"
#include "files/gguf_writer.h"
#include "models/weight_visitors.h"

namespace invar::test {

inline std::vector<float> counted(int64_t count) {
    std::vector<float> values(static_cast<size_t>(count));
    std::iota(values.begin(), values.end(), 0.0f);
    return values;
}

// A directory with one tensor of layer 0.
inline TinyDirectory directory_of(const std::string& tensor, std::vector<int64_t> shape) {
    TinyDirectory tiny = tiny_directory();
    const int64_t count = std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
    tiny.floats("model.layers.0." + tensor, std::move(shape), counted(count));
    return tiny;
}

// A GGUF file with one F32 tensor of layer 0.
inline std::vector<std::byte> gguf_of(const std::string& tensor, const std::vector<int64_t>& shape) {
    GgufWriter writer;
    writer.add("general.architecture", std::string("llama"));
    const int64_t count = std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
    const std::vector<float> values = counted(count);
    EXPECT_TRUE(writer.add_tensor("blk.0." + tensor, format(FormatId::f32), shape));
    std::vector<std::byte> bytes = writer.header();
    const std::span<const std::byte> data = std::as_bytes(std::span(values));
    bytes.insert(bytes.end(), data.begin(), data.end());
    return bytes;
}

// Every number, row by row, read in the ways in which the loader and the others read; they must agree.
inline std::vector<float> numbers_of(const StoredWeight& weight) {
    std::vector<float> numbers(static_cast<size_t>(weight.weights()));
    if (weight.shape.size() == 1) {
        EXPECT_TRUE(RowReader(RowReader::Access::read).vector(weight, numbers.data()));
        return numbers;
    }
    const auto columns = static_cast<size_t>(weight.columns());
    RowReader one(RowReader::Access::read), some(RowReader::Access::mapped), all(RowReader::Access::mapped);
    for (int64_t row = 0; row < weight.rows(); ++row) {
        const auto made = one.decode(weight, row, numbers.data() + static_cast<size_t>(row) * columns);
        EXPECT_TRUE(made) << made.error().message;
    }
    const std::byte* at_once = all.rows(weight, 0, weight.rows()).value();
    for (int64_t row = 0; row < weight.rows(); row += 3) {
        const int64_t count = std::min<int64_t>(3, weight.rows() - row);
        const std::byte* rows = some.rows(weight, row, count).value();
        EXPECT_EQ(
            0, std::memcmp(rows, at_once + row * weight.row_bytes(), static_cast<size_t>(count * weight.row_bytes())));
    }
    std::vector<float> decoded(columns);
    for (int64_t row = 0; row < weight.rows() && weight.scales.empty() && weight.row_scales.empty(); ++row) {
        weight.format->decode(at_once + row * weight.row_bytes(), weight.columns(), decoded.data());
        EXPECT_EQ(0, std::memcmp(decoded.data(), numbers.data() + static_cast<size_t>(row) * columns, columns * 4));
    }
    return numbers;
}

inline Result<StoredWeight> stored_in(const Checkpoint& checkpoint, const WantedWeight& weight) {
    TRY_ASSIGN(std::optional<StoredWeight> found, find_stored(weight, checkpoint));
    if (!found) return fail("nothing holds {}", to_string(weight.id));
    return std::move(*found);
}

inline Result<StoredWeight> matrix_in(const Checkpoint& checkpoint, WeightNames names, int64_t rows, int64_t columns,
                                      const MatrixOptions& options, int layer = 0) {
    Declaration declaration(checkpoint);
    declaration.layer(layer);
    declaration.matrix(WeightMatrix(), names, rows, columns, options);
    return stored_in(checkpoint, declaration.take().front());
}
inline Result<StoredWeight> stack_in(const Checkpoint& checkpoint, WeightNames names, std::vector<int64_t> shape,
                                     const MatrixOptions& options, int layer = 0) {
    Declaration declaration(checkpoint);
    declaration.layer(layer);
    declaration.stack(WeightStack(), names, std::move(shape), options);
    return stored_in(checkpoint, declaration.take().front());
}
inline Result<StoredWeight> vector_in(const Checkpoint& checkpoint, WeightNames names, int64_t size,
                                      const VectorOptions& options, int layer = 0) {
    Declaration declaration(checkpoint);
    declaration.layer(layer);
    declaration.vector(WeightVector(), names, size, options);
    return stored_in(checkpoint, declaration.take().front());
}

inline std::vector<float> numbers_of(const Result<StoredWeight>& weight) {
    EXPECT_TRUE(weight) << weight.error().message;
    return weight ? numbers_of(*weight) : std::vector<float>();
}

}  // namespace invar::test
