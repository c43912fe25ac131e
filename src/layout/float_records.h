// Records of float formats: elements are moved unchanged, and packed rows share the scales of a grid. rows4.cpp uses
// this and shares with it the matrix to pack and the vector path. record.h says where elements lie.
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

// Packs full records of a full group with vector code and returns how many; the plain loops pack the rest.
int64_t pack_vector_records(const RowsToPack& matrix, int64_t group, uint8_t* sides, uint8_t* main);

void pack_float_group(const RowsToPack& matrix, int64_t group, uint8_t* packed);
// Unpacks row r of a group's record, `columns` elements of it. `side` is where the scales before the records start.
void unpack_float_record(const Format& format, const uint8_t* record, const uint8_t* side, int r, int64_t columns,
                         std::byte* as_stored);

}  // namespace invar
