// NVFP4 encoder: tries eleven UE4M3 scales for each 16 weights and takes the one of least error. Layout: nvfp4.h;
// weighting and cleaning of input: scale_search.h.
#include "formats/nvfp4/nvfp4.h"

#include <algorithm>
#include <bit>

#include "formats/code_runs.h"
#include "formats/scale_search.h"

namespace invar::nvfp4 {
namespace {

uint8_t best_scale(const scale_search::Values& group) {
    float amax = 0.0f;
    for (int i = 0; i < group.count; ++i) amax = std::max(amax, std::fabs(group.x[i]));
    // Candidates start 3 bytes (about 30 %) below the scale that turns the largest magnitude into 6, which clips it,
    // and end 7 above, which turns it into 3 to 4. A tie keeps the smaller scale. Byte 0 means that all 16 are zero.
    const int middle = f32_to_e4m3(amax / 6.0f);
    float least = INFINITY;
    int best = 0;
    for (int byte = std::max(middle - 3, 0); byte <= std::min(middle + 7, 0x7E); ++byte) {
        const float scale = ue4m3_to_f32(static_cast<uint8_t>(byte)) * 0.5f;
        const float error = scale_search::scale_error(group, scale, E2M1Codes{});
        if (error < least) least = error, best = byte;
    }
    return static_cast<uint8_t>(best);
}

}  // namespace

void encode(const float* x, const float* importance, Block& block) {
    const scale_search::Block<64> input(x, importance);
    for (int g = 0; g < 4; ++g) {
        block.scales[g] = best_scale(input.part(16 * g, 16));
        const float inverse = scale_search::inverse_or_zero(half_scale(block, g));
        for (int j = 0; j < 8; ++j) {
            const int low = nearest_e2m1(input.x[16 * g + j] * inverse);
            const int high = nearest_e2m1(input.x[16 * g + j + 8] * inverse);
            block.nibbles[8 * g + j] = static_cast<uint8_t>(low | high << 4);
        }
    }
}

float tensor_scale(float amax) {
    if (!(amax > 0.0f) || !(amax < INFINITY)) return 1.0f;
    float scale = 1.0f;
    while (amax / scale > 2688.0f) scale *= 2.0f;
    while (amax / scale <= 1344.0f && scale > 0x1p-126f) scale *= 0.5f;
    return scale;
}

void split(const Block& block, int at, RowRecord& row) {
    for (int group = 0; group < 4; ++group) {
        row.scale[4 * at + group] = block.scales[group];
        code_runs::split_nibbles<8>(block.nibbles + 8 * group, row.codes + 64 * at + 16 * group);
    }
}

void join(const RowRecord& row, int at, Block& block) {
    for (int group = 0; group < 4; ++group) {
        block.scales[group] = row.scale[4 * at + group];
        code_runs::join_nibbles<8>(row.codes + 64 * at + 16 * group, block.nibbles + 8 * group);
    }
}

}  // namespace invar::nvfp4
