// INT4 encoder: one signed scale for 32 weights. Layout: int4_g32.h; the search: scale_search.h.
#include "formats/int4_g32/int4_g32.h"

#include "formats/code_runs.h"
#include "formats/scale_search.h"

namespace invar::int4_g32 {

void encode(const float* x, const float* importance, Block& block) {
    const scale_search::IntegerCodes codes{-8.0f, 7.0f};
    const scale_search::Block<32> input(x, importance);
    block.d = scale_search::stored_bf16(scale_search::fit_scale(input.values(), codes));
    const float inverse = scale_search::inverse_or_zero(block.d.value());
    for (int j = 0; j < 16; ++j) {
        const int low = codes.index(input.x[2 * j] * inverse), high = codes.index(input.x[2 * j + 1] * inverse);
        block.nibbles[j] = static_cast<uint8_t>(low | high << 4);
    }
}

void split(const Block& block, int at, RowRecord& row) {
    row.d[at] = block.d.bits();
    code_runs::split_neighbours<16>(block.nibbles, row.codes + 32 * at);
}

void join(const RowRecord& row, int at, Block& block) {
    block.d = StoredBF16::from_bits(row.d[at]);
    code_runs::join_neighbours<16>(row.codes + 32 * at, block.nibbles);
}

}  // namespace invar::int4_g32
