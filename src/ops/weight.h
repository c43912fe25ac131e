// A weight as the rest of the engine sees it: identity, format, logical shape, stored form, and bytes. Views never own
// them; the registry (load/registry.h) does. The weight plan decides how bytes get here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "formats/format.h"
#include "ops/tensor.h"

namespace invar {

// Names a weight by its layer and its role there. Models define the roles (models/decoder_weights.h); here they are
// only compared. The experts of a layer are one weight.
struct WeightId {
    int layer = -1;         // -1: belongs to the model, not to a layer
    std::string_view role;  // "query"; points to static text
    auto operator<=>(const WeightId&) const = default;
};
std::string to_string(WeightId id);  // "layer 3 query", "token_embedding"

// How the bytes of a matrix are arranged in memory.
enum class StoredForm : uint8_t {
    as_stored,  // rows of blocks exactly as in the file (Format), usually the mapped file itself
    rows4,  // four rows x 256 columns interleaved for vector kernels (layout/record.h); rows padded to a multiple of 4
    device_lanes,  // four rows x 256 columns in the order of a warp's lanes, in device memory (cuda/weight_layout.h)
    binary32,      // vectors (norms, biases) widened exactly to binary32
};
std::string_view stored_form_name(StoredForm form);

struct WeightMatrix {  // [rows, columns]; y = W x has `rows` elements
    WeightId id;
    const Format* format = nullptr;
    StoredForm form = StoredForm::as_stored;
    int64_t rows = 0, columns = 0;
    const std::byte* data = nullptr;
    int64_t bytes = 0;
    // Scales beside the format: each multiplies y[r] once, after the last sum of the law (scaled() below).
    float scale = 1.0f;                 // of the whole tensor: NVFP4, FP8; 1 where there is none
    const float* row_scales = nullptr;  // [rows], beside `data` (same place): FP8 per channel; null if there are none

    Place place() const { return form == StoredForm::device_lanes ? Place::device : Place::host; }
};

// The end of a product (docs/arithmetic.md, section 1): y of row `row` times the tensor's scale, then times the row's.
// Each is one multiplication in binary32, left out if there is no such scale (or it is 1). The weights must be on the
// host.
inline float scaled(const WeightMatrix& weight, int64_t row, float y) {
    if (weight.scale != 1.0f) y = y * weight.scale;
    if (weight.row_scales != nullptr) y = y * weight.row_scales[row];
    return y;
}

struct WeightStack {     // [count, rows, columns]: the experts of a layer
    WeightMatrix first;  // its row_scales, if any, are [count, rows]
    int64_t count = 0;
    int64_t stride_bytes = 0;       // from one expert to the next
    const float* scales = nullptr;  // [count], beside the data: one per expert, in place of first.scale; or null

    WeightMatrix at(int64_t expert) const {
        WeightMatrix matrix = first;
        matrix.data = first.data == nullptr ? nullptr : first.data + expert * stride_bytes;
        if (scales != nullptr && first.place() == Place::host) matrix.scale = scales[expert];
        if (first.row_scales != nullptr) matrix.row_scales = first.row_scales + expert * first.rows;
        return matrix;
    }
};

struct WeightVector {  // [size], binary32
    WeightId id;
    const float* data = nullptr;
    int64_t size = 0;
    Place place = Place::host;
};

}  // namespace invar
