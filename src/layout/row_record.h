// One row of a packed record taken apart: 256 codes in column order and their scales. It is the half-way house between
// the blocks of a file and the interleaved record; rows4.cpp does the other half. What the fields mean:
// formats/NAME/NAME.h.
#pragma once

#include <cstddef>
#include <cstdint>

#include "formats/format.h"
#include "formats/row_record.h"

namespace invar {

// Reads the blocks of `columns` <= 256 columns of a row (whole blocks); what lies past them becomes zero bits.
void split_row(FormatId format, const std::byte* stored, int64_t columns, RowRecord& row);
// The inverse: the exact bytes.
void join_row(FormatId format, const RowRecord& row, int64_t columns, std::byte* stored);

}  // namespace invar
