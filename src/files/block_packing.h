// Turns rows of codes and the scales beside them, as SafeTensors files hold them, into blocks of a Format. No number
// changes: only the order of the bits does. checkpoint/ decides which tensors these are.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "files/stored_weight.h"

namespace invar {

struct PackingRow {
    const std::byte* weights = nullptr;  // one row, as its tensor has it
    const std::byte* scales = nullptr;   // the scales of this row's blocks
    std::string_view scale_dtype;        // the scales' dtype, as SafeTensors spells it
    int64_t columns = 0;
};

// Number `at` of scales in F32, BF16 or F8_E8M0, as binary32 exactly.
float scale_number(std::string_view dtype, const std::byte* scales, int64_t at);

// Bytes of a row of the tensor of weights, and of that of scales.
int64_t packed_row_bytes(CodePacking packing, const Format& format, int64_t columns);

// The fewest columns that share a scale or a byte, and their bytes in a row of the tensor of weights. A unit is moved
// as a whole where columns are put into another order.
struct ColumnUnit {
    int64_t columns = 1, bytes = 0;
};
ColumnUnit weight_unit(CodePacking packing, const Format& format);

// Writes format.row_bytes(columns) bytes. `packing` is not CodePacking::blocks.
void pack_row(CodePacking packing, const Format& format, const PackingRow& row, std::byte* out);

// Symmetric INT4 has scales with a sign: AutoRound gives the code -8, which has no positive twin, to the larger end of
// a group's range. No other writer makes a negative scale.
enum class ScaleSign : uint8_t { none, any };

// How many scales are infinite, no numbers, or (where none has a sign) negative; minus zero is zero. The dtype is as
// SafeTensors spells it, and U8 holds E8M0. Those of a dtype in which no scale is stored are not looked at.
int64_t count_bad_scales(std::string_view dtype, std::span<const std::byte> scales, ScaleSign sign = ScaleSign::none);

}  // namespace invar
