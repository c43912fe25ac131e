// The meaning of a weight's bits: one Format for each line of formats/list.h, one folder for each under formats/. A
// Format knows its block, its decoder, its encoder and its strand step of the dot law (docs/arithmetic.md, section 1).
// Other places decide where tensors lie, how they are repacked for a kernel (layout/) and which kernel runs (cpu/). The
// table is in format.cpp; docs/formats.md shows all formats on one page.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "arithmetic/dot.h"
#include "formats/description.h"
#include "formats/list.h"

namespace invar {

struct Format {
    FormatId id;
    std::string_view name;  // lower case, as users write it: "q4_k"
    uint32_t gguf_type;     // the tensor type number in a GGUF file; kNoGgufType: SafeTensors only
    int block_weights;      // weights of one row in a block: 1 for float formats without scales
    int block_bytes;
    bool is_float;                       // f32, f16, bf16, f8_*: activations stay binary32, no integer dot
    std::span<const ScaleField> scales;  // where scales lie in a block; none where there are none

    // The value of weight i (0 <= i < block_weights) of a block, as a binary32: exact, or rounded once
    // (docs/formats.md).
    float (*weight)(const std::byte* block, int i);
    // Decodes `count` weights of a row to binary32, equal to weight() element by element.
    void (*decode)(const std::byte* row, int64_t count, float* out);
    // Encodes `count` weights. `importance`: one non-negative weight a column, or null. Any bits may come in: quantised
    // formats read NaN as 0 and clamp magnitudes to 2^28, float formats keep them.
    void (*encode)(const float* in, int64_t count, const float* importance, std::byte* row);
    // Adds one block to the strands of its row: the blocks of 32 from first_block to first_block + block_weights / 32 -
    // 1. x points at the activation block of first_block. Null for float formats, whose step is in dot_float() below.
    void (*accumulate)(const std::byte* block, const QuantizedBlock* x, int64_t first_block, Strands& strands);

    // Rows of quantised formats are whole blocks. A row of a float format may end inside a block, whose codes past the
    // end are zero bits and belong to no weight.
    bool allows_columns(int64_t columns) const { return is_float || columns % block_weights == 0; }
    int64_t blocks_of_row(int64_t columns) const { return (columns + block_weights - 1) / block_weights; }
    int64_t row_bytes(int64_t columns) const { return blocks_of_row(columns) * block_bytes; }
    constexpr bool in_gguf() const { return gguf_type != kNoGgufType; }
};

const Format& format(FormatId id);
std::span<const Format* const> formats();  // in FormatId order
// nullptr if the number or name is not one of ours, and for kNoGgufType.
const Format* find_format_by_gguf_type(uint32_t gguf_type);
const Format* find_format_by_name(std::string_view name);

// y = dot law of one weight row and one quantised activation row of `columns` values (scalar, the definition).
// Scales beside the format are not applied here: scaled() in ops/weight.h.
float dot_quantized(const Format& format, const std::byte* row, const QuantizedBlock* x, int64_t columns);
// y = dot law of one float-format row and binary32 activations, any `columns`.
float dot_float(const Format& format, const std::byte* row, const float* x, int64_t columns);

}  // namespace invar
