// One row of 256 columns taken apart into codes in column order and scales: the half-way house between the blocks of a
// file and packed layouts. Each format's folder has split() and join() for one block; whole rows: layout/row_record.h.
#pragma once

#include <cstdint>

namespace invar {

struct RowRecord {
    alignas(64) uint8_t codes[256];  // unsigned as stored (Q8_0: + 128; Q3_K: the 3 bits), column order
    // One element a block of 32; superblock formats use d[0] and m[0]. f16 or bf16 bits.
    uint16_t d[8], m[8];
    // Integer scales as stored, unsigned bits: one element a block of 32 (Q4_K, Q5_K, IQ4_XS, MXFP4), or one a 16 (2 b
    // + half).
    uint8_t scale[16], minimum[16];
};

}  // namespace invar
