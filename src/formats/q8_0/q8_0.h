// Q8_0: 32 weights, one scale, int8 codes. 8.5 bits per weight.
//
//   byte  0   2                      34
//       | d | c0 | c1 | ... | c31 |          weight i = d * c_i
//        f16  int8 (-128 to 127)
//
// 34 bytes: every second block of a row starts at an address that is not a multiple of 4.
// Next: docs/arithmetic.md section 1 for the strand step.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>

#include "arithmetic/dot.h"
#include "formats/description.h"
#include "formats/row_record.h"
#include "formats/stored.h"

namespace invar::q8_0 {

struct Block {
    static constexpr int kWeights = 32;
    StoredF16 d;
    int8_t codes[32];
};
static_assert(sizeof(Block) == 34 && alignof(Block) == 1);

inline constexpr Description kDescription{.gguf_type = 8, .bytes = true, .offset = 128, .scales = ScaleForm::f16};
inline constexpr ScaleField kScaleFields[] = {{"d", ScaleKind::f16, offsetof(Block, d), 0}};

inline int code(const Block& block, int i) { return block.codes[i]; }

// Exact: the factors have 11 and 8 significant bits.
inline float weight(const Block& block, int i) { return block.d.value() * static_cast<float>(code(block, i)); }

inline void accumulate(const Block& block, const QuantizedBlock* x, int64_t first_block, Strands& strands) {
    int32_t idot = 0;
    for (int i = 0; i < 32; ++i) idot += code(block, i) * x->q[i];
    float& s = strands.of_block(first_block);
    s = std::fma(block.d.value() * x->d, static_cast<float>(idot), s);
}

void encode(const float* x, const float* importance, Block& block);
void split(const Block& block, int at, RowRecord& row);  // formats/row_record.h; `at`: block of the record
void join(const RowRecord& row, int at, Block& block);

}  // namespace invar::q8_0
