// One row of a packed record taken apart: 256 codes in column order and their scales. It is the half-way house between
// the blocks of a file and the interleaved record; rows4.cpp does the other half. What the fields mean:
// formats/NAME/NAME.h.
#pragma once

#include <cstddef>
#include <cstdint>

#include "formats/format.h"

namespace invar {

struct RowRecord {
    alignas(64) uint8_t codes[256];  // unsigned as stored (Q8_0: + 128; Q3_K: the 3 bits), column order
    // One element a block of 32; superblock formats use d[0] and m[0]. f16 bits.
    uint16_t d[8], m[8];
    // Integer scales as stored, unsigned bits: one element a block of 32 (Q4_K, Q5_K, IQ4_XS, MXFP4), or one a 16 (2 b
    // + half).
    uint8_t scale[16], minimum[16];
};

// Reads the blocks of `columns` <= 256 columns of a row (whole blocks); what lies past them becomes zero bits.
void split_row(FormatId format, const std::byte* stored, int64_t columns, RowRecord& row);
// The inverse: the exact bytes.
void join_row(FormatId format, const RowRecord& row, int64_t columns, std::byte* stored);

}  // namespace invar
