#include "files/stored_weight.h"

#include <cstring>

#include "arithmetic/elementary.h"
#include "base/mapped_file.h"

namespace invar {

int64_t StoredWeight::rows() const {
    int64_t product = 1;
    for (size_t i = 0; i + 1 < shape.size(); ++i) product *= shape[i];
    return product;
}

const std::byte* StoredWeight::in_place() const {
    const StoredMatrix& first = matrices.front();
    const int64_t each = rows_of_matrix();
    for (size_t i = 0; i < matrices.size(); ++i) {
        const StoredMatrix& matrix = matrices[i];
        const int64_t wanted = first.order.first + static_cast<int64_t>(i) * each;
        if (matrix.weights != first.weights || !matrix.order.consecutive() || matrix.order.first != wanted)
            return nullptr;
    }
    return first.weights->data + first.order.first * row_bytes();
}

StoredWeight::Place StoredWeight::place_of(int64_t row) const {
    const int64_t each = rows_of_matrix();
    const StoredMatrix& matrix = matrices[static_cast<size_t>(row / each)];
    const TensorInfo& tensor = *matrix.weights;
    return {tensor.file_index, static_cast<int64_t>(tensor.file_offset) + matrix.order.at(row % each) * row_bytes()};
}

Result<const std::byte*> RowReader::bytes(const TensorInfo& tensor, int64_t offset, int64_t count, std::byte* room) {
    if (access_ == Access::mapped || tensor.file == nullptr) return tensor.data + offset;
    TRY(tensor.file->read(tensor.file_offset + static_cast<uint64_t>(offset),
                          std::span(room, static_cast<size_t>(count))));
    return room;
}

Result<const std::byte*> RowReader::rows(const StoredWeight& weight, int64_t first, int64_t count) {
    const int64_t each = weight.rows_of_matrix(), row_bytes = weight.row_bytes();
    const StoredMatrix& at_first = weight.matrices[static_cast<size_t>(first / each)];
    if (static_cast<int64_t>(buffer_.size()) < count * row_bytes)
        buffer_.resize(static_cast<size_t>(count * row_bytes));
    std::byte* out = buffer_.data();
    if (at_first.order.consecutive() && first % each + count <= each)
        return bytes(*at_first.weights, at_first.order.at(first % each) * row_bytes, count * row_bytes, out);
    for (int64_t row = first; row < first + count; ++row, out += row_bytes) {
        const StoredMatrix& matrix = weight.matrices[static_cast<size_t>(row / each)];
        TRY_ASSIGN(const std::byte* stored,
                   bytes(*matrix.weights, matrix.order.at(row % each) * row_bytes, row_bytes, out));
        if (stored != out) std::memcpy(out, stored, static_cast<size_t>(row_bytes));
    }
    return buffer_.data();
}

Result<void> RowReader::decode(const StoredWeight& weight, int64_t row, float* out) {
    if (weight.shape.size() == 1) return vector(weight, out);
    TRY_ASSIGN(const std::byte* stored, rows(weight, row, 1));
    weight.format->decode(stored, weight.columns(), out);
    const float scale = weight.scale_of(row / weight.rows_of_matrix());
    if (scale == 1.0f) return {};
    for (int64_t i = 0; i < weight.columns(); ++i) out[i] *= scale;
    return {};
}

Result<void> RowReader::vector(const StoredWeight& weight, float* out) {
    // A vector whose elements are in another order is read whole and picked from.
    const StoredMatrix& matrix = weight.matrices.front();
    const int64_t size = weight.shape.front(), all = matrix.weights->weights();
    const auto stored_bytes = static_cast<size_t>(weight.format->row_bytes(all));
    if (buffer_.size() < stored_bytes) buffer_.resize(stored_bytes);
    TRY_ASSIGN(const std::byte* stored, bytes(*matrix.weights, 0, static_cast<int64_t>(stored_bytes), buffer_.data()));
    for (int64_t i = 0; i < size; ++i) {
        const std::byte* element = stored + matrix.order.at(i) * weight.format->block_bytes;
        float value = weight.format->weight(element, 0);
        if (weight.law == VectorLaw::plus_one) value = 1.0f + value;
        if (weight.law == VectorLaw::minus_exp) value = -law::exp(value);
        out[i] = value;
    }
    return {};
}

}  // namespace invar
