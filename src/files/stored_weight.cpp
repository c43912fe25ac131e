// Reads runs of rows, puts them into the wanted order, and packs them into blocks: see stored_weight.h.
#include "files/stored_weight.h"

#include <algorithm>
#include <cstring>

#include "arithmetic/elementary.h"
#include "base/check.h"
#include "base/mapped_file.h"
#include "files/block_packing.h"
#include "files/printable.h"
#include "formats/nvfp4/nvfp4.h"

namespace invar {
namespace {

// The row of the scales' tensor for a row of the weights' tensor: in a grid, blocks of 128 rows share one.
int64_t scale_row(CodePacking packing, int64_t row) { return packing == CodePacking::f8_grid ? row / 128 : row; }

// A row of NVFP4 whose writer joins the scale of the tensor with those of the blocks first. A divisor of 0 belongs to
// an expert that no calibration text reached: its weights are 0.
void decode_nvfp4(const std::byte* stored, int64_t columns, ScaleOrder order, float scale, float* out) {
    for (int64_t first = 0; first < columns; first += 16) {
        nvfp4::Block block;
        std::memcpy(&block, stored + first / 64 * static_cast<int64_t>(sizeof block), sizeof block);
        const auto group = static_cast<int>(first / 16 % 4);
        float of_group = ue4m3_to_f32(block.scales[group]);
        if (order == ScaleOrder::in_block_scales) {
            of_group *= scale;
        } else {
            of_group = scale == 0 ? 0 : of_group / scale;
        }
        for (int i = 0; i < 16; ++i)
            out[first + i] = 0.5f * static_cast<float>(nvfp4::code(block, group, i)) * of_group;
    }
}

int64_t bytes_of_row(const TensorInfo& tensor) { return static_cast<int64_t>(tensor.bytes) / tensor.rows(); }

// Puts the columns of rows into the wanted order. A unit is stored and moved as a whole.
const std::byte* order_columns(const GroupOrder& order, const ColumnUnit& unit, const std::byte* rows, int64_t count,
                               int64_t columns, std::vector<std::byte>& room) {
    const int64_t row_bytes = columns / unit.columns * unit.bytes;
    room.resize(std::max(room.size(), static_cast<size_t>(count * row_bytes)));
    const auto byte_of = [&](int64_t column) { return column / unit.columns * unit.bytes; };
    for (int64_t column = 0, run = 0; column < columns; column += run) {
        run = order.run(column, columns - column);
        const int64_t from = byte_of(order.at(column)), to = byte_of(column);
        for (int64_t row = 0; row < count; ++row)
            std::memcpy(room.data() + row * row_bytes + to, rows + row * row_bytes + from,
                        static_cast<size_t>(byte_of(run)));
    }
    return room.data();
}

// Refuses scales of blocks, which are rows [first, first + rows) of their tensor.
Result<void> check_scales(CodePacking packing, const TensorInfo& tensor, const std::byte* scales, int64_t first,
                          int64_t rows) {
    const ScaleSign sign = packing == CodePacking::int4_words ? ScaleSign::any : ScaleSign::none;
    const auto row_bytes = static_cast<size_t>(bytes_of_row(tensor));
    for (int64_t row = 0; row < rows; ++row) {
        const std::span<const std::byte> these(scales + static_cast<size_t>(row) * row_bytes, row_bytes);
        if (count_bad_scales(tensor.dtype, these, sign) == 0) continue;
        return fail(
            "{}tensor '{}' holds a scale in row {} that is {}infinite or not a number; the file is damaged, fetch it "
            "again",
            tensor.file == nullptr ? "" : printable(tensor.file->path().string(), 4096) + ": ", printable(tensor.name),
            first + row, sign == ScaleSign::any ? "" : "negative, ");
    }
    return {};
}

}  // namespace

int64_t StoredWeight::rows() const {
    int64_t product = 1;
    for (size_t i = 0; i + 1 < shape.size(); ++i) product *= shape[i];
    return product;
}

const std::byte* StoredWeight::in_place() const {
    if (packing != CodePacking::blocks || transposed || columns_order.moves()) return nullptr;
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
    if (transposed) {
        const int64_t at = matrix.first_row * bytes_of_row(tensor);
        return {tensor.file_index, static_cast<int64_t>(tensor.file_offset) + at};
    }
    return {tensor.file_index, static_cast<int64_t>(tensor.file_offset) +
                                   matrix.order.at(row % each) * packed_row_bytes(packing, *format, columns())};
}

// Reads [offset, offset + count) of a tensor, in place or copied into `room`.
Result<const std::byte*> RowReader::bytes(const TensorInfo& tensor, int64_t offset, int64_t count,
                                          std::vector<std::byte>& room) {
    if (access_ == Access::mapped || tensor.file == nullptr) return tensor.data + offset;
    if (static_cast<int64_t>(room.size()) < count) room.resize(static_cast<size_t>(count));
    TRY(tensor.file->read(tensor.file_offset + static_cast<uint64_t>(offset),
                          std::span(room).first(static_cast<size_t>(count))));
    return room.data();
}

// Makes rows [first, first + count) of one matrix as blocks.
Result<void> RowReader::make_rows(const StoredWeight& weight, const StoredMatrix& matrix, int64_t first, int64_t count,
                                  std::byte* out) {
    const int64_t columns = weight.columns(), row_bytes = weight.row_bytes();
    const int64_t stored_bytes = packed_row_bytes(weight.packing, *weight.format, columns);
    const bool moves = weight.columns_order.moves();
    // Consecutive rows are read at once.
    for (int64_t done = 0, run = 0; done < count; done += run) {
        const int64_t row = matrix.order.at(first + done);
        run = matrix.order.run(first + done, count - done);
        TRY_ASSIGN(const std::byte* stored, bytes(*matrix.weights, row * stored_bytes, run * stored_bytes, weights_));
        if (moves) {
            const ColumnUnit unit = weight_unit(weight.packing, *weight.format);
            stored = order_columns(weight.columns_order, unit, stored, run, columns, ordered_weights_);
        }
        if (weight.packing == CodePacking::blocks) {
            std::memcpy(out + done * row_bytes, stored, static_cast<size_t>(run * row_bytes));
            continue;
        }
        const int64_t scale_bytes = bytes_of_row(*matrix.scales), first_scale = scale_row(weight.packing, row);
        const int64_t scale_rows = scale_row(weight.packing, row + run - 1) - first_scale + 1;
        TRY_ASSIGN(const std::byte* scales,
                   bytes(*matrix.scales, first_scale * scale_bytes, scale_rows * scale_bytes, scales_));
        if (access_ == Access::read) TRY(check_scales(weight.packing, *matrix.scales, scales, first_scale, scale_rows));
        if (moves) {
            const int64_t width = weight_unit(weight.packing, *weight.format).columns;
            const ColumnUnit unit{width, scale_bytes / (columns / width)};
            scales = order_columns(weight.columns_order, unit, scales, scale_rows, columns, ordered_scales_);
        }
        for (int64_t i = 0; i < run; ++i) {
            const int64_t at = scale_row(weight.packing, row + i) - first_scale;
            pack_row(weight.packing, *weight.format,
                     {.weights = stored + i * stored_bytes,
                      .scales = scales + at * scale_bytes,
                      .scale_dtype = matrix.scales->dtype,
                      .columns = columns},
                     out + (done + i) * row_bytes);
        }
    }
    return {};
}

// Makes rows [first, first + count) of one matrix from columns of the tensor, which has plain numbers.
Result<void> RowReader::transpose(const StoredWeight& weight, const StoredMatrix& matrix, int64_t first, int64_t count,
                                  std::byte* out) {
    if (matrix.source != nullptr) return transpose_decoded(weight, matrix, first, count, out);
    const auto element = static_cast<size_t>(weight.format->block_bytes);
    const auto row_bytes = static_cast<size_t>(weight.row_bytes());
    std::vector<int64_t> from(static_cast<size_t>(count));
    for (int64_t i = 0; i < count; ++i) from[static_cast<size_t>(i)] = matrix.order.at(first + i);
    const auto [low, high] = std::minmax_element(from.begin(), from.end());
    const int64_t begin = *low, width = *high - *low + 1, stored_bytes = bytes_of_row(*matrix.weights);
    for (int64_t column = 0; column < weight.columns(); ++column) {
        const int64_t row = matrix.first_row + weight.columns_order.at(column);
        TRY_ASSIGN(const std::byte* stored,
                   bytes(*matrix.weights, row * stored_bytes + begin * static_cast<int64_t>(element),
                         width * static_cast<int64_t>(element), weights_));
        std::byte* to = out + static_cast<size_t>(column) * element;
        for (const int64_t at : from) {
            std::memcpy(to, stored + static_cast<size_t>(at - begin) * element, element);
            to += row_bytes;
        }
    }
    return {};
}

Result<void> RowReader::transpose_decoded(const StoredWeight& weight, const StoredMatrix& matrix, int64_t first,
                                          int64_t count, std::byte* out) {
    if (source_reader_ == nullptr) source_reader_ = std::make_unique<RowReader>(access_);
    std::vector<float> stored(static_cast<size_t>(matrix.source->columns()));
    for (int64_t column = 0; column < weight.columns(); ++column) {
        const int64_t row = matrix.first_row + weight.columns_order.at(column);
        TRY(source_reader_->decode(*matrix.source, row, stored.data()));
        for (int64_t i = 0; i < count; ++i) {
            const float value = stored[static_cast<size_t>(matrix.order.at(first + i))];
            std::memcpy(out + (i * weight.columns() + column) * static_cast<int64_t>(sizeof value), &value,
                        sizeof value);
        }
    }
    return {};
}

Result<const std::byte*> RowReader::transposed_rows(const StoredWeight& weight, int64_t first, int64_t count) {
    constexpr int64_t kPanelBytes = int64_t{1} << 20;
    const int64_t each = weight.rows_of_matrix(), row_bytes = weight.row_bytes();
    buffer_.resize(std::max(buffer_.size(), static_cast<size_t>(count * row_bytes)));
    for (int64_t done = 0, some = 0; done < count; done += some) {
        const StoredMatrix& matrix = weight.matrices[static_cast<size_t>((first + done) / each)];
        const int64_t row = (first + done) % each;
        if (!panel_.of(weight, matrix) || row < panel_.first || row >= panel_.first + panel_.count) {
            const bool many = count == 1 || matrix.source != nullptr;
            const int64_t size = std::max(count - done, many ? kPanelBytes / row_bytes : 0);
            panel_ = {.matrix = matrix,
                      .columns = weight.columns(),
                      .columns_order = weight.columns_order,
                      .first = row,
                      .count = std::min(size, each - row),
                      .rows = std::move(panel_.rows)};
            panel_.rows.resize(static_cast<size_t>(panel_.count * row_bytes));
            const Result<void> made = transpose(weight, matrix, row, panel_.count, panel_.rows.data());
            if (!made) panel_.count = 0;
            TRY(made);
        }
        const int64_t in_panel = row - panel_.first;
        some = std::min(count - done, panel_.count - in_panel);
        std::memcpy(buffer_.data() + done * row_bytes, panel_.rows.data() + in_panel * row_bytes,
                    static_cast<size_t>(some * row_bytes));
    }
    return buffer_.data();
}

Result<const std::byte*> RowReader::rows(const StoredWeight& weight, int64_t first, int64_t count) {
    if (weight.transposed) return transposed_rows(weight, first, count);
    const int64_t each = weight.rows_of_matrix(), row_bytes = weight.row_bytes();
    const StoredMatrix& at_first = weight.matrices[static_cast<size_t>(first / each)];
    if (weight.packing == CodePacking::blocks && !weight.columns_order.moves() && at_first.order.consecutive() &&
        first % each + count <= each)
        return bytes(*at_first.weights, at_first.order.at(first % each) * row_bytes, count * row_bytes, buffer_);
    if (static_cast<int64_t>(buffer_.size()) < count * row_bytes)
        buffer_.resize(static_cast<size_t>(count * row_bytes));
    for (int64_t done = 0; done < count;) {
        const int64_t row = first + done, some = std::min(count - done, each - row % each);
        TRY(make_rows(weight, weight.matrices[static_cast<size_t>(row / each)], row % each, some,
                      buffer_.data() + done * row_bytes));
        done += some;
    }
    return buffer_.data();
}

Result<void> RowReader::decode(const StoredWeight& weight, int64_t row, float* out) {
    if (weight.shape.size() == 1) return vector(weight, out);
    TRY_ASSIGN(const std::byte* stored, rows(weight, row, 1));
    const int64_t matrix = row / weight.rows_of_matrix();
    if (weight.scale_order != ScaleOrder::last) {
        CHECK(weight.format->id == FormatId::nvfp4, "only NVFP4 has scales of blocks and of the tensor");
        const bool divides = weight.scale_order == ScaleOrder::divides_block_scales;
        const float scale = divides ? weight.divisors[static_cast<size_t>(matrix)] : weight.scale_of(matrix);
        decode_nvfp4(stored, weight.columns(), weight.scale_order, scale, out);
        return {};
    }
    weight.format->decode(stored, weight.columns(), out);
    const auto multiply = [&](float scale) {
        if (scale == 1.0f) return;
        for (int64_t i = 0; i < weight.columns(); ++i) out[i] *= scale;
    };
    multiply(weight.scale_of(matrix));
    if (!weight.row_scales.empty()) multiply(weight.row_scales[static_cast<size_t>(row)]);
    return {};
}

Result<void> RowReader::vector(const StoredWeight& weight, float* out) {
    // A vector whose elements are in another order is read whole, and the elements are picked from the copy.
    const StoredMatrix& matrix = weight.matrices.front();
    const int64_t size = weight.shape.front(), element_bytes = weight.format->block_bytes;
    TRY_ASSIGN(const std::byte* stored, bytes(*matrix.weights, 0, matrix.weights->weights() * element_bytes, weights_));
    for (int64_t i = 0; i < size; ++i) {
        float value = weight.format->weight(stored + matrix.order.at(i) * element_bytes, 0);
        if (weight.law == VectorLaw::plus_one) value = 1.0f + value;
        if (weight.law == VectorLaw::minus_exp) value = -law::exp(value);
        out[i] = value;
    }
    return {};
}

}  // namespace invar
