// One row of 256 columns split into its codes, in column order, and its scales: an intermediate form between the blocks
// of a file and the packed layouts. Each format's folder has split() and join() for one block; layout/row_record.h
// handles whole rows.
#pragma once

#include <cstdint>

namespace invar {

struct RowRecord {
    alignas(64) uint8_t codes[256];  // unsigned as stored (Q8_0: + 128; Q3_K: the 3 bits), column order
    // f16 or bf16 bits, one element per block of 32; superblock formats use d[0] and m[0] only.
    uint16_t d[8], m[8];
    // Integer scales as stored, unsigned: one element per block of 32 (Q4_K, Q5_K, IQ4_XS, MXFP4), or one per 16
    // columns (2 b + half).
    uint8_t scale[16], minimum[16];
};

}  // namespace invar
