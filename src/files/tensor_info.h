// What a model file says about one tensor: name, format, logical shape, and where its bytes are. Shapes are logical
// everywhere; packed sizes exist only in `bytes`. Files with no such tensor cannot produce one (no empty placeholders).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "formats/format.h"

namespace invar {

class MappedFile;

struct TensorInfo {
    std::string name;
    const Format* format;  // null: bytes that are no weights by themselves (codes or scales, see stored_weight.h)
    // Outermost first: [experts,] rows, columns. The last dimension runs contiguously in the file (GGUF stores the
    // dimensions the other way round). 1 to 4 dimensions, each at least 1, the last one that
    // format->allows_columns(); the number of weights is below 2^63.
    std::vector<int64_t> shape;
    // Into the file's bytes. Aligned to the file's alignment (32 by default, but a file may state less: use memcpy).
    const std::byte* data;
    uint64_t bytes;
    int file_index;                    // which part of a split file, 0 for the first
    uint64_t file_offset;              // from the start of that part
    const MappedFile* file = nullptr;  // that part; null: the bytes are memory, or nobody asked for it
    std::string dtype;                 // of a SafeTensors file, as it spells it; "" elsewhere

    int64_t columns() const { return shape.back(); }
    // Over all outer dimensions: experts * rows.
    int64_t rows() const {
        int64_t product = 1;
        for (size_t i = 0; i + 1 < shape.size(); ++i) product *= shape[i];
        return product;
    }
    int64_t weights() const { return rows() * columns(); }
    uint64_t row_bytes() const { return static_cast<uint64_t>(format->row_bytes(columns())); }
};

}  // namespace invar
