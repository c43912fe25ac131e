// Records of float formats: elements moved as they are, and the scales of a grid, which packed rows share. For
// rows4.cpp, with which this shares the matrix to pack and its vector path; where elements lie is said in record.h.
#pragma once

#include <cstddef>
#include <cstdint>

#include "formats/format.h"
#include "layout/pack_records.h"
#include "layout/record.h"
#include "layout/rows4.h"

namespace invar {

inline int64_t columns_of_record(int64_t columns, int64_t record) {
    const int64_t left = columns - record * kRecordColumns;
    return left < kRecordColumns ? left : kRecordColumns;
}

// A matrix to pack.
struct RowsToPack {
    const Format& format;
    const std::byte* as_stored;
    int64_t rows, columns;
    bool with_vectors;
};

// Full records of a full group that vector code packed: the plain loops go on behind them.
int64_t pack_vector_records(const RowsToPack& matrix, int64_t group, uint8_t* sides, uint8_t* main);

void pack_float_group(const RowsToPack& matrix, int64_t group, uint8_t* packed);
// Row r of a group's record, `columns` of them; `side`: the scales before the records.
void unpack_float_record(const Format& format, const uint8_t* record, const uint8_t* side, int r, int64_t columns,
                         std::byte* as_stored);

}  // namespace invar
