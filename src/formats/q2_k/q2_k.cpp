// Q2_K encoder: two levels of scales and minima. Layout: q2_k.h; the search: scale_search.h.
#include "formats/q2_k/q2_k.h"

#include <cstring>

#include "formats/code_runs.h"
#include "formats/scale_search.h"

namespace invar::q2_k {

void encode(const float* x, const float* importance, Block& block) {
    const scale_search::IntegerCodes codes{0.0f, 3.0f};
    const scale_search::Block<256> input(x, importance);
    const scale_search::TwoLevelAffine fit = scale_search::fit_two_level_affine(input.values(), 16, 15, codes);
    block = Block{.scales = {}, .codes = {}, .d = fit.d, .dmin = fit.dmin};
    for (int k = 0; k < 16; ++k) {
        block.scales[k] = static_cast<uint8_t>(fit.scale[k] | fit.minimum[k] << 4);
        const float inverse = scale_search::inverse_or_zero(fit.d.value() * static_cast<float>(fit.scale[k]));
        const float minimum = fit.dmin.value() * static_cast<float>(fit.minimum[k]);
        for (int i = 16 * k; i < 16 * k + 16; ++i) {
            const int index = codes.index((input.x[i] + minimum) * inverse);
            const int b = i / 32, l = i % 32;
            block.codes[32 * (b / 4) + l] |= static_cast<uint8_t>(index << (2 * (b % 4)));
        }
    }
}

void split(const Block& block, int, RowRecord& row) {
    row.d[0] = block.d.bits();
    row.m[0] = block.dmin.bits();
    for (int k = 0; k < 16; ++k) {
        row.scale[k] = block.scales[k] & 15;
        row.minimum[k] = block.scales[k] >> 4;
    }
    std::memset(row.codes, 0, sizeof(row.codes));
    code_runs::add_crumbs(block.codes, 0, row.codes);
}

void join(const RowRecord& row, int, Block& block) {
    block.d = StoredF16::from_bits(row.d[0]);
    block.dmin = StoredF16::from_bits(row.m[0]);
    for (int k = 0; k < 16; ++k) block.scales[k] = static_cast<uint8_t>(row.scale[k] | row.minimum[k] << 4);
    code_runs::take_crumbs(row.codes, 0, block.codes);
}

}  // namespace invar::q2_k
