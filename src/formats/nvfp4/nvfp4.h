// NVFP4 in GGUF's layout (type 40): 64 weights, a UE4M3 scale for every 16, E2M1 codes. 4.5 bits per weight.
//
//   byte  0    1    2    3    4                                 36
//       | s0 | s1 | s2 | s3 | 8 bytes | 8 | 8 | 8 bytes |          weight i = ue4m3(s_{i/16}) * e2m1(c_i)
//        UE4M3, one each 16   bytes of group g, at 4 + 8g: low nibble: weight 16g + j, high nibble: weight 16g + j + 8
//
// Codes (e2m1.h) are held doubled, so the scale is halved. The scale bytes: ue4m3_to_f32 in arithmetic/float_types.h. A
// tensor of this format may carry one binary32 scale, which multiplies y once at the end and is not part of a block.
// SafeTensors stores the same numbers in another order (neighbours share a byte); the loader of such files converts
// them.
// Next: docs/arithmetic.md section 1 for the strand step.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>

#include "arithmetic/dot.h"
#include "formats/description.h"
#include "formats/e2m1.h"
#include "formats/row_record.h"
#include "formats/stored.h"

namespace invar::nvfp4 {

struct Block {
    static constexpr int kWeights = 64;
    uint8_t scales[4];
    uint8_t nibbles[32];
};
static_assert(sizeof(Block) == 36 && alignof(Block) == 1);

inline constexpr Description kDescription{.gguf_type = 40,
                                          .nibbles = true,
                                          .levels = CodeLevels::e2m1,
                                          .offset = 12,
                                          .halves = true,
                                          .scales = ScaleForm::ue4m3};
inline constexpr ScaleField kScaleFields[] = {{"s0", ScaleKind::ue4m3, offsetof(Block, scales), 0},
                                              {"s1", ScaleKind::ue4m3, offsetof(Block, scales) + 1, 0},
                                              {"s2", ScaleKind::ue4m3, offsetof(Block, scales) + 2, 0},
                                              {"s3", ScaleKind::ue4m3, offsetof(Block, scales) + 3, 0}};

// Twice the E2M1 value of weight i of group g (0 <= g < 4, 0 <= i < 16), -12 to 12.
inline int code(const Block& block, int g, int i) {
    const uint8_t* bytes = block.nibbles + 8 * g;
    return kDoubledE2M1[i < 8 ? bytes[i] & 15 : bytes[i - 8] >> 4];
}

// The scale of group g, halved because the codes are doubled; 0 to 240.
inline float half_scale(const Block& block, int g) { return ue4m3_to_f32(block.scales[g]) * 0.5f; }

// Exact: the factors have 4 and 4 significant bits.
inline float weight(const Block& block, int i) {
    return half_scale(block, i / 16) * static_cast<float>(code(block, i / 16, i % 16));
}

inline void accumulate(const Block& block, const QuantizedBlock* x, int64_t first_block, Strands& strands) {
    for (int b = 0; b < 2; ++b) {
        float& s = strands.of_block(first_block + b);
        for (int half = 0; half < 2; ++half) {
            int32_t idot = 0;
            for (int i = 0; i < 16; ++i) idot += code(block, 2 * b + half, i) * x[b].q[16 * half + i];
            s = std::fma(half_scale(block, 2 * b + half) * x[b].d, static_cast<float>(idot), s);
        }
    }
}

// Scales reach from 2^-9 to 448, and below 2^-6 they lose mantissa bits. Weights of usual size (0.02) therefore need a
// tensor scale: encode x / tensor_scale(amax) and keep tensor_scale(amax) beside the tensor.
void encode(const float* x, const float* importance, Block& block);
void split(const Block& block, int at, RowRecord& row);  // formats/row_record.h; `at`: block of the record
void join(const RowRecord& row, int at, Block& block);

// The power of two g for which amax / g lies in (1344, 2688], where amax is the largest magnitude of the tensor and
// 2688 = 6 * 448 the largest weight of a block. Dividing by g is exact. 1 if amax is 0 or not finite.
float tensor_scale(float amax);

}  // namespace invar::nvfp4
