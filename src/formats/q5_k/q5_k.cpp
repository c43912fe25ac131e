// Q5_K encoder: two levels of scales and minima. Layout: q5_k.h; the search: scale_search.h.
#include "formats/q5_k/q5_k.h"

#include "formats/code_runs.h"
#include "formats/scale_search.h"

namespace invar::q5_k {

void encode(const float* x, const float* importance, Block& block) {
    const scale_search::IntegerCodes codes{0.0f, 31.0f};
    const scale_search::Block<256> input(x, importance);
    const scale_search::TwoLevelAffine fit = scale_search::fit_two_level_affine(input.values(), 8, 63, codes);
    block = Block{.d = fit.d, .dmin = fit.dmin, .scales = {}, .tops = {}, .nibbles = {}};
    for (int b = 0; b < 8; ++b) {
        block.scales.set(b, fit.scale[b], fit.minimum[b]);
        const float inverse = scale_search::inverse_or_zero(fit.d.value() * static_cast<float>(fit.scale[b]));
        const float minimum = fit.dmin.value() * static_cast<float>(fit.minimum[b]);
        for (int l = 0; l < 32; ++l) {
            const int index = codes.index((input.x[32 * b + l] + minimum) * inverse);
            block.nibbles[32 * (b / 2) + l] |= static_cast<uint8_t>((index & 15) << (4 * (b % 2)));
            block.tops[l] |= static_cast<uint8_t>((index >> 4) << b);
        }
    }
}

void split(const Block& block, int, RowRecord& row) {
    row.d[0] = block.d.bits();
    row.m[0] = block.dmin.bits();
    block.scales.split(row);
    for (int p = 0; p < 4; ++p) code_runs::split_nibbles<32>(block.nibbles + 32 * p, row.codes + 64 * p);
    code_runs::add_bits(block.tops, 4, row.codes);
}

void join(const RowRecord& row, int, Block& block) {
    block.d = StoredF16::from_bits(row.d[0]);
    block.dmin = StoredF16::from_bits(row.m[0]);
    block.scales.join(row);
    for (int p = 0; p < 4; ++p) code_runs::join_nibbles<32>(row.codes + 64 * p, block.nibbles + 32 * p);
    code_runs::take_bits(row.codes, 4, block.tops);
}

}  // namespace invar::q5_k
