// Q5_0 encoder: one signed scale. Layout: q5_0.h; the search: scale_search.h.
#include "formats/q5_0/q5_0.h"

#include "formats/code_runs.h"
#include "formats/scale_search.h"

namespace invar::q5_0 {

void encode(const float* x, const float* importance, Block& block) {
    const scale_search::IntegerCodes codes{-16.0f, 15.0f};
    const scale_search::Block<32> input(x, importance);
    block.d = scale_search::stored_f16(scale_search::fit_scale(input.values(), codes));
    const float inverse = scale_search::inverse_or_zero(block.d.value());
    for (uint8_t& byte : block.tops) byte = 0;
    for (uint8_t& byte : block.nibbles) byte = 0;
    for (int i = 0; i < 32; ++i) {
        const int index = codes.index(input.x[i] * inverse);
        block.nibbles[i % 16] |= static_cast<uint8_t>((index & 15) << (i < 16 ? 0 : 4));
        block.tops[i / 8] |= static_cast<uint8_t>((index >> 4) << (i % 8));
    }
}

void split(const Block& block, int at, RowRecord& row) {
    row.d[at] = block.d.bits();
    code_runs::split_nibbles<16>(block.nibbles, row.codes + 32 * at);
    code_runs::split_tops(block.tops, row.codes + 32 * at);
}

void join(const RowRecord& row, int at, Block& block) {
    block.d = StoredF16::from_bits(row.d[at]);
    code_runs::join_nibbles<16>(row.codes + 32 * at, block.nibbles);
    code_runs::join_tops(row.codes + 32 * at, block.tops);
}

}  // namespace invar::q5_0
