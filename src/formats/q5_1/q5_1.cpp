// Q5_1 encoder: a scale and an offset of either sign. Layout: q5_1.h; the search: scale_search.h.
#include "formats/q5_1/q5_1.h"

#include "formats/code_runs.h"
#include "formats/scale_search.h"

namespace invar::q5_1 {

void encode(const float* x, const float* importance, Block& block) {
    const scale_search::IntegerCodes codes{0.0f, 31.0f};
    const scale_search::Block<32> input(x, importance);
    const scale_search::Affine fit = scale_search::fit_affine(input.values(), codes, scale_search::Offset::free);
    block.d = scale_search::stored_f16(fit.scale);
    block.m = scale_search::stored_f16(fit.offset);
    const float inverse = scale_search::inverse_or_zero(block.d.value()), offset = block.m.value();
    for (uint8_t& byte : block.tops) byte = 0;
    for (uint8_t& byte : block.nibbles) byte = 0;
    for (int i = 0; i < 32; ++i) {
        const int index = codes.index((input.x[i] - offset) * inverse);
        block.nibbles[i % 16] |= static_cast<uint8_t>((index & 15) << (i < 16 ? 0 : 4));
        block.tops[i / 8] |= static_cast<uint8_t>((index >> 4) << (i % 8));
    }
}

void split(const Block& block, int at, RowRecord& row) {
    row.d[at] = block.d.bits();
    row.m[at] = block.m.bits();
    code_runs::split_nibbles<16>(block.nibbles, row.codes + 32 * at);
    code_runs::split_tops(block.tops, row.codes + 32 * at);
}

void join(const RowRecord& row, int at, Block& block) {
    block.d = StoredF16::from_bits(row.d[at]);
    block.m = StoredF16::from_bits(row.m[at]);
    code_runs::join_nibbles<16>(row.codes + 32 * at, block.nibbles);
    code_runs::join_tops(row.codes + 32 * at, block.tops);
}

}  // namespace invar::q5_1
