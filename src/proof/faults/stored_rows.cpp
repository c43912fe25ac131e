#include "proof/faults/stored_rows.h"

#include <algorithm>
#include <cstring>

#include "arithmetic/quantize.h"
#include "layout/rows4.h"

namespace invar {

std::vector<std::byte> stored_row(const WeightMatrix& weight, int64_t row) {
    const int64_t bytes = weight.format->row_bytes(weight.columns);
    std::vector<std::byte> stored(static_cast<size_t>(bytes));
    if (weight.form == StoredForm::rows4) {
        unpack_row(*weight.format, weight.data, weight.rows, weight.columns, row, stored.data());
    } else {
        std::memcpy(stored.data(), weight.data + row * bytes, stored.size());
    }
    return stored;
}

void replace_stored_row(const WeightMatrix& weight, int64_t row, const std::vector<std::byte>& stored,
                        std::byte* copy) {
    const int64_t bytes = weight.format->row_bytes(weight.columns);
    if (weight.form != StoredForm::rows4) {
        std::memcpy(copy + row * bytes, stored.data(), stored.size());
        return;
    }
    // Packs the row's group of four rows anew, because only that group holds bits of the row.
    const int64_t group = row / kRowGroup, first = group * kRowGroup;
    const int64_t rows = std::min(kRowGroup, weight.rows - first);
    std::vector<std::byte> as_stored;
    for (int64_t r = first; r < first + rows; ++r) {
        const std::vector<std::byte> one = r == row ? stored : stored_row(weight, r);
        as_stored.insert(as_stored.end(), one.begin(), one.end());
    }
    const int64_t group_bytes = rows4_bytes(*weight.format, kRowGroup, weight.columns);
    pack_rows4(*weight.format, as_stored.data(), rows, weight.columns, 0, 1, copy + group * group_bytes);
}

ProductPlace product_place(const VerbCall& call, int64_t row_of_out) {
    if (call.stack == nullptr) return {.matrix = 0, .row_of_x = row_of_out};
    if (call.verb == Verb::head_linear) return {.matrix = row_of_out % call.stack->count, .row_of_x = row_of_out};
    const bool own_row = call.slot_input == SlotInput::slot;
    return {.matrix = call.slots.experts[row_of_out],
            .row_of_x = own_row ? row_of_out : row_of_out / call.slots.experts_per_row};
}

LawInput::LawInput(const Format& format, const float* x, int64_t columns) : x_(x) {
    if (format.is_float) return;
    blocks_.resize(static_cast<size_t>(columns / kDotBlock));
    quantize_row(x, columns, blocks_.data());
}

float LawInput::dot(const WeightMatrix& weight, int64_t row, const std::byte* stored) const {
    const float y = weight.format->is_float ? dot_float(*weight.format, stored, x_, weight.columns)
                                            : dot_quantized(*weight.format, stored, blocks_.data(), weight.columns);
    return scaled(weight, row, y);
}

}  // namespace invar
