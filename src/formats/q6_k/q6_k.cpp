// Q6_K encoder: two levels of signed scales. Layout: q6_k.h; the search: scale_search.h.
#include "formats/q6_k/q6_k.h"

#include <cstring>

#include "formats/code_runs.h"
#include "formats/scale_search.h"

namespace invar::q6_k {

void encode(const float* x, const float* importance, Block& block) {
    const scale_search::IntegerCodes codes{-32.0f, 31.0f};
    const scale_search::Block<256> input(x, importance);
    const scale_search::TwoLevelScales fit = scale_search::fit_two_level(input.values(), 16, {-128.0f, 127.0f}, codes);
    block = Block{.lows = {}, .tops = {}, .scales = {}, .d = fit.d};
    for (int k = 0; k < 16; ++k) {
        block.scales[k] = static_cast<int8_t>(fit.scale[k]);
        const float inverse = scale_search::inverse_or_zero(fit.d.value() * static_cast<float>(fit.scale[k]));
        for (int i = 16 * k; i < 16 * k + 16; ++i) {
            const int index = codes.index(input.x[i] * inverse);
            const int half = i / 128, t = i % 128 / 32, l = i % 32;
            block.lows[64 * half + 32 * (t % 2) + l] |= static_cast<uint8_t>((index & 15) << (4 * (t / 2)));
            block.tops[32 * half + l] |= static_cast<uint8_t>((index >> 4) << (2 * t));
        }
    }
}

void split(const Block& block, int, RowRecord& row) {
    row.d[0] = block.d.bits();
    std::memcpy(row.scale, block.scales, 16);
    for (int h = 0; h < 2; ++h) code_runs::split_nibbles<64>(block.lows + 64 * h, row.codes + 128 * h);
    code_runs::add_crumbs(block.tops, 4, row.codes);
}

void join(const RowRecord& row, int, Block& block) {
    block.d = StoredF16::from_bits(row.d[0]);
    std::memcpy(block.scales, row.scale, 16);
    for (int h = 0; h < 2; ++h) code_runs::join_nibbles<64>(row.codes + 128 * h, block.lows + 64 * h);
    code_runs::take_crumbs(row.codes, 4, block.tops);
}

}  // namespace invar::q6_k
