// INT4 in groups (compressed-tensors, pack-quantized, symmetric): a 16-bit float scale and signed 4-bit codes, two per
// byte. formats/int4_g32, int4_g128 and int4_g128_f16 share this code; each sets the size of its groups and the type of
// its scale.
//
//   byte  0   2
//       | d | c0,c1 | c2,c3 | ...          weight i = d * (c_i - 8)
//             low nibble: the even column, high nibble: the odd one
//
// The nibbles are in the order of the file's words of 32 bits, eight codes each, the first in the lowest bits.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>

#include "arithmetic/dot.h"
#include "formats/description.h"
#include "formats/row_record.h"
#include "formats/stored.h"

namespace invar::int4_groups {

template <class Scale, int kCount>
struct Group {
    static constexpr int kWeights = kCount;
    Scale d;
    uint8_t nibbles[kCount / 2];
};

// Signed code of weight i, -8 to 7.
template <class Scale, int kCount>
int code(const Group<Scale, kCount>& block, int i) {
    return (block.nibbles[i / 2] >> (4 * (i % 2)) & 15) - 8;
}

// Exact: the scale has 8 or 11 significant bits, the code 4.
template <class Scale, int kCount>
float weight(const Group<Scale, kCount>& block, int i) {
    return block.d.value() * static_cast<float>(code(block, i));
}

template <class Scale, int kCount>
void accumulate(const Group<Scale, kCount>& block, const QuantizedBlock* x, int64_t first_block, Strands& strands) {
    for (int b = 0; b < kCount / 32; ++b) {
        int32_t idot = 0;
        for (int i = 0; i < 32; ++i) idot += code(block, 32 * b + i) * x[b].q[i];
        float& s = strands.of_block(first_block + b);
        s = std::fma(block.d.value() * x[b].d, static_cast<float>(idot), s);
    }
}

// The largest magnitude becomes -8 or 7, unless a slightly different scale has the smaller error (scale_search.h).
template <class Scale, int kCount>
void encode(const float* x, const float* importance, Group<Scale, kCount>& block);
template <class Scale, int kCount>
void split(const Group<Scale, kCount>& block, int at, RowRecord& row);  // formats/row_record.h
template <class Scale, int kCount>
void join(const RowRecord& row, int at, Group<Scale, kCount>& block);

}  // namespace invar::int4_groups
