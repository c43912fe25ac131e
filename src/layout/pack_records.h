// Packs whole records of four rows with vector instructions, at the speed of memory. The bytes are those of the plain
// loops of rows4.cpp, which define the packing (record.h draws the records). It handles full records of full groups
// only; the plain loops pack the edges.
#pragma once

#include <cstddef>
#include <cstdint>

#include "formats/format.h"
#include "layout/record.h"

namespace invar {

// `records` neighbouring records of one row group.
struct RecordsToPack {
    const std::byte* rows[4];  // where the first record's columns begin in each row as stored
    int64_t records = 0;
    uint8_t* sides = nullptr;  // of the first record; quantised formats only
    uint8_t* main = nullptr;   // the first record, 64-byte aligned
};

// Whether this machine executes pack_records_avx2().
bool can_pack_with_avx2();
// Returns false, and does nothing, for a format without vector code.
bool pack_records_avx2(FormatId format, const RecordsToPack& work);

}  // namespace invar
