// MXFP4 encoder: tries six powers of two and takes the one of least error. Layout: mxfp4.h; weighting and cleaning of
// input: scale_search.h.
#include "formats/mxfp4/mxfp4.h"

#include <algorithm>
#include <bit>

#include "formats/code_runs.h"
#include "formats/scale_search.h"

namespace invar::mxfp4 {

void encode(const float* x, const float* importance, Block& block) {
    const scale_search::Block<32> input(x, importance);
    float amax = 0.0f;
    for (const float value : input.x) amax = std::max(amax, std::fabs(value));
    block = Block{};
    if (amax < 0x1p-100f) return;  // zero codes
    // With the middle exponent the largest magnitude is 4 to 8 times the scale; the largest code is 6.
    const int middle = static_cast<int>(std::bit_cast<uint32_t>(amax) >> 23) - 2;
    float least = INFINITY;
    for (int e = middle - 2; e <= middle + 3; ++e) {  // a tie keeps the smaller scale
        const float scale = e8m0_half_to_f32(static_cast<uint8_t>(e));
        const float error = scale_search::scale_error(input.values(), scale, E2M1Codes{});
        if (error < least) least = error, block.e = static_cast<uint8_t>(e);
    }
    const float inverse = 1.0f / e8m0_half_to_f32(block.e);
    for (int j = 0; j < 16; ++j) {
        const int low = nearest_e2m1(input.x[j] * inverse), high = nearest_e2m1(input.x[j + 16] * inverse);
        block.nibbles[j] = static_cast<uint8_t>(low | high << 4);
    }
}

void split(const Block& block, int at, RowRecord& row) {
    row.scale[at] = block.e;
    code_runs::split_nibbles<16>(block.nibbles, row.codes + 32 * at);
}

void join(const RowRecord& row, int at, Block& block) {
    block.e = row.scale[at];
    code_runs::join_nibbles<16>(row.codes + 32 * at, block.nibbles);
}

}  // namespace invar::mxfp4
