// Activations in the layout that vector kernels read: 256 quantised columns of one row, interleaved like the packed
// weights so that a strand of the dot law is an int32 lane. prepare_activations (linear.h) makes them; they equal those
// of quantize_row (arithmetic/quantize.h). layout/record.h draws the weights' side.
#pragma once

#include <cstdint>

namespace invar {

struct alignas(64) LaneRecord {
    int8_t q[256];           // q[32 j + 4 b + c]: column 32 b + 4 j + c
    float d[8];              // by block b; -0 past the end of the row (linear.h says why)
    float sx[8];             // d * float(sum of the block's q)
    int32_t half_sum[2][8];  // sum of q over columns 0 to 15 and 16 to 31 of each block
};
static_assert(sizeof(LaneRecord) == 384);

// Prepares one row of `columns` values (a multiple of 32). All of these write equal bytes.
void prepare_lanes_scalar(const float* x, int64_t columns, LaneRecord* out);
void prepare_lanes_avx2(const float* x, int64_t columns, LaneRecord* out);

}  // namespace invar
