// See float_records.h.
#include "layout/float_records.h"

#include <algorithm>
#include <cstring>

namespace invar {
namespace {

// Float formats. A block is a scale, where there is one, and elements; an element is moved as it is.
int64_t stored_element(const Format& format, int64_t size, int64_t column) {
    const int64_t block = column / format.block_weights, scale = format.block_bytes - format.block_weights * size;
    return block * format.block_bytes + scale + column % format.block_weights * size;
}

// Rows share the scales of the grid: the first row's stand for all (rows4_scales_agree).
void pack_shared_scales(const RowsToPack& matrix, int64_t group, uint8_t* sides) {
    const std::byte* const row = matrix.as_stored + group * kRowGroup * matrix.format.row_bytes(matrix.columns);
    for (int64_t block = 0; block < matrix.format.blocks_of_row(matrix.columns); ++block) {
        std::memcpy(sides + 4 * block, row + block * matrix.format.block_bytes, 4);
    }
}

// What stands in a block of the grid behind the last column: the zero whose product with the block's scale is +0, which
// leaves a strand as it is (cpu/float_products.h). Scales that no product with zero is zero for are refused before
// (checkpoint/module_tensors.cpp).
void pad_behind(const RowsToPack& matrix, int64_t record, const uint8_t* sides, uint8_t* row) {
    const int64_t columns = columns_of_record(matrix.columns, record), block = columns / matrix.format.block_weights;
    if (columns % matrix.format.block_weights == 0) return;
    const uint8_t sign = sides[record * record_layout(matrix.format.id).side_bytes() + 4 * block + 3] & 0x80;
    std::memset(row + columns, sign, static_cast<size_t>((block + 1) * matrix.format.block_weights - columns));
}

// Where the element of row r and column k of a record stands among its elements (record.h).
template <class Element>
constexpr int float_place(int r, int k) {
    const int b = k / 32, i = k % 32;
    return sizeof(Element) == 1 ? 64 * (i / 2) + 16 * r + 2 * b + i % 2 : 32 * i + 8 * r + b;
}

// Neighbouring elements that lie side by side in any float format's row.
template <class Element>
constexpr int64_t kRowRun = sizeof(Element) == 1 ? 128 : 256;

template <class Element>
void pack_elements(const RowsToPack& matrix, int64_t group, uint8_t* packed) {
    constexpr int64_t kSize = sizeof(Element);
    const RecordLayout layout = record_layout(matrix.format.id);
    const int64_t sides = sides_bytes(layout, matrix.columns);
    std::memset(packed, 0, static_cast<size_t>(sides));
    if (layout.scales == ScaleForm::f32_of_128) pack_shared_scales(matrix, group, packed);
    const uint8_t* const side_pieces = packed;
    packed += sides;
    const int64_t first = pack_vector_records(matrix, group, nullptr, packed);
    packed += first * layout.main_bytes();
    for (int64_t record = first; record < records_of(matrix.columns); ++record, packed += layout.main_bytes()) {
        const int64_t columns = columns_of_record(matrix.columns, record);
        Element lanes[kRecordElements];
        if (columns < kRecordColumns || (group + 1) * kRowGroup > matrix.rows) std::memset(lanes, 0, sizeof(lanes));
        for (int r = 0; r < kRowGroup && group * kRowGroup + r < matrix.rows; ++r) {
            Element row[kRecordColumns] = {};
            const int64_t row_bytes = matrix.format.row_bytes(matrix.columns), run = kRowRun<Element>;
            const std::byte* const stored = matrix.as_stored + (group * kRowGroup + r) * row_bytes;
            for (int64_t k = 0; k < columns; k += run) {
                const int64_t count = columns - k < run ? columns - k : run;
                const int64_t at = stored_element(matrix.format, kSize, record * kRecordColumns + k);
                std::memcpy(row + k, stored + at, static_cast<size_t>(count * kSize));
            }
            if constexpr (kSize == 1) {
                if (layout.scales == ScaleForm::f32_of_128) pad_behind(matrix, record, side_pieces, row);
            }
            for (int k = 0; k < kRecordColumns; ++k) lanes[float_place<Element>(r, k)] = row[k];
        }
        std::memcpy(packed, lanes, sizeof(lanes));
    }
}

template <class Element>
void unpack_elements(const Format& format, const uint8_t* record, const uint8_t* side, int r, int64_t columns,
                     std::byte* as_stored) {
    constexpr int64_t kSize = sizeof(Element);
    if (columns % format.block_weights != 0)  // zero bits behind the last column
        std::memset(as_stored, 0, static_cast<size_t>(format.row_bytes(columns)));
    for (int64_t first = 0; first < columns; first += kRowRun<Element>) {
        std::byte* const run = as_stored + stored_element(format, kSize, first);
        const int64_t count = std::min(columns - first, kRowRun<Element>);
        for (int64_t i = 0; i < count; ++i) {
            const int64_t place = float_place<Element>(r, static_cast<int>(first + i));
            std::memcpy(run + i * kSize, record + place * kSize, kSize);
        }
    }
    if (record_layout(format.id).scales != ScaleForm::f32_of_128) return;
    for (int64_t block = 0; block * format.block_weights < columns; ++block) {
        std::memcpy(as_stored + block * format.block_bytes, side + 4 * block, 4);
    }
}

}  // namespace

int64_t pack_vector_records(const RowsToPack& matrix, int64_t group, uint8_t* sides, uint8_t* main) {
    const int64_t row_bytes = matrix.format.row_bytes(matrix.columns);
    if (!matrix.with_vectors || (group + 1) * kRowGroup > matrix.rows) return 0;
    RecordsToPack work{.rows = {}, .records = matrix.columns / kRecordColumns, .sides = sides, .main = main};
    for (int r = 0; r < kRowGroup; ++r) work.rows[r] = matrix.as_stored + (group * kRowGroup + r) * row_bytes;
    return pack_records_avx2(matrix.format.id, work) ? work.records : 0;
}

void pack_float_group(const RowsToPack& matrix, int64_t group, uint8_t* packed) {
    switch (element_bytes(record_layout(matrix.format.id).elements)) {
        case 1:
            return pack_elements<uint8_t>(matrix, group, packed);
        case 2:
            return pack_elements<uint16_t>(matrix, group, packed);
        default:
            return pack_elements<uint32_t>(matrix, group, packed);
    }
}

void unpack_float_record(const Format& format, const uint8_t* record, const uint8_t* side, int r, int64_t columns,
                         std::byte* as_stored) {
    switch (element_bytes(record_layout(format.id).elements)) {
        case 1:
            return unpack_elements<uint8_t>(format, record, side, r, columns, as_stored);
        case 2:
            return unpack_elements<uint16_t>(format, record, side, r, columns, as_stored);
        default:
            return unpack_elements<uint32_t>(format, record, side, r, columns, as_stored);
    }
}

}  // namespace invar
