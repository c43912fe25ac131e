// Q3_K encoder: two levels of signed scales. Layout: q3_k.h; the search: scale_search.h.
#include "formats/q3_k/q3_k.h"

#include <cstring>

#include "formats/code_runs.h"
#include "formats/scale_search.h"

namespace invar::q3_k {

void encode(const float* x, const float* importance, Block& block) {
    const scale_search::IntegerCodes codes{-4.0f, 3.0f};
    const scale_search::Block<256> input(x, importance);
    const scale_search::TwoLevelScales fit = scale_search::fit_two_level(input.values(), 16, {-32.0f, 31.0f}, codes);
    block = Block{.tops = {}, .lows = {}, .scales = {}, .d = fit.d};
    for (int k = 0; k < 16; ++k) {
        const int stored = fit.scale[k] + 32;
        block.scales[k % 8] |= static_cast<uint8_t>((stored & 15) << (k < 8 ? 0 : 4));
        block.scales[8 + k % 4] |= static_cast<uint8_t>((stored >> 4) << (2 * (k / 4)));
        const float inverse = scale_search::inverse_or_zero(fit.d.value() * static_cast<float>(fit.scale[k]));
        for (int i = 16 * k; i < 16 * k + 16; ++i) {
            const int index = codes.index(input.x[i] * inverse);
            const int b = i / 32, l = i % 32;
            block.lows[32 * (b / 4) + l] |= static_cast<uint8_t>((index & 3) << (2 * (b % 4)));
            block.tops[l] |= static_cast<uint8_t>((index >> 2) << b);
        }
    }
}

void split(const Block& block, int, RowRecord& row) {
    row.d[0] = block.d.bits();
    for (int k = 0; k < 16; ++k) row.scale[k] = static_cast<uint8_t>(scale(block, k) + 32);
    std::memset(row.codes, 0, sizeof(row.codes));
    code_runs::add_crumbs(block.lows, 0, row.codes);
    code_runs::add_bits(block.tops, 2, row.codes);
}

void join(const RowRecord& row, int, Block& block) {
    block.d = StoredF16::from_bits(row.d[0]);
    std::memset(block.scales, 0, sizeof(block.scales));
    for (int k = 0; k < 16; ++k) {
        block.scales[k % 8] |= static_cast<uint8_t>((row.scale[k] & 15) << (k < 8 ? 0 : 4));
        block.scales[8 + k % 4] |= static_cast<uint8_t>((row.scale[k] >> 4) << (2 * (k / 4)));
    }
    code_runs::take_crumbs(row.codes, 0, block.lows);
    code_runs::take_bits(row.codes, 2, block.tops);
}

}  // namespace invar::q3_k
