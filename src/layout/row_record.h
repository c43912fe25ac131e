// Splits one row of a packed record into 256 codes in column order and their scales. This is the intermediate form
// between the blocks of a file and the interleaved record; rows4.cpp does the other half. The meaning of the fields:
// formats/NAME/NAME.h.
#pragma once

#include <cstddef>
#include <cstdint>

#include "formats/format.h"
#include "formats/row_record.h"

namespace invar {

// Reads the blocks of `columns` <= 256 columns of a row (whole blocks); the columns past them become zero bits.
void split_row(FormatId format, const std::byte* stored, int64_t columns, RowRecord& row);
// The inverse: writes the exact bytes.
void join_row(FormatId format, const RowRecord& row, int64_t columns, std::byte* stored);

}  // namespace invar
