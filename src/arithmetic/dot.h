// The pieces of the dot law (docs/arithmetic.md, section 1) that every weight format shares: the activation block, the
// eight strands and their sum. The steps of a format are in formats/NAME/NAME.h.
#pragma once

#include <cstdint>

namespace invar {

inline constexpr int kDotBlock = 32;  // weights in a block of the dot law
inline constexpr int kStrands = 8;    // block b belongs to strand b mod 8

// 32 activations quantised with one scale; made by quantize_row (arithmetic/quantize.h).
struct QuantizedBlock {
    int8_t q[kDotBlock];  // rint(x * (127 / amax))
    float d;              // amax / 127; 0 for a zero block (amax < 1e-30)
    int32_t sum;          // of q
    float sx;             // d * float(sum)
};

struct Strands {
    float s[kStrands] = {};

    float& of_block(int64_t block) { return s[block % kStrands]; }
    // ((((((s0+s1)+s2)+s3)+s4)+s5)+s6)+s7, in this order.
    float total() const {
        float sum = s[0];
        for (int i = 1; i < kStrands; ++i) sum = sum + s[i];
        return sum;
    }
};

}  // namespace invar
