// Packs whole records of four rows with vector instructions: the same bytes as the plain loops of rows4.cpp, which say
// what they are (record.h draws them), at the speed of memory. It handles full records of full groups only; edges are
// left to the plain loops.
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
// False, and nothing is done, for a format without vector code.
bool pack_records_avx2(FormatId format, const RecordsToPack& work);

}  // namespace invar
