// INT4 encoder: one signed scale for 128 weights. Layout: int4_g128_f16.h; the search: scale_search.h.
#include "formats/int4_g128_f16/int4_g128_f16.h"

#include "formats/code_runs.h"
#include "formats/scale_search.h"

namespace invar::int4_g128_f16 {

void encode(const float* x, const float* importance, Block& block) {
    const scale_search::IntegerCodes codes{-8.0f, 7.0f};
    const scale_search::Block<128> input(x, importance);
    block.d = scale_search::stored_f16(scale_search::fit_scale(input.values(), codes));
    const float inverse = scale_search::inverse_or_zero(block.d.value());
    for (int j = 0; j < 64; ++j) {
        const int low = codes.index(input.x[2 * j] * inverse), high = codes.index(input.x[2 * j + 1] * inverse);
        block.nibbles[j] = static_cast<uint8_t>(low | high << 4);
    }
}

void split(const Block& block, int at, RowRecord& row) {
    for (int b = 0; b < 4; ++b) row.d[4 * at + b] = block.d.bits();
    code_runs::split_neighbours<64>(block.nibbles, row.codes + 128 * at);
}

void join(const RowRecord& row, int at, Block& block) {
    block.d = StoredF16::from_bits(row.d[4 * at]);
    code_runs::join_neighbours<64>(row.codes + 128 * at, block.nibbles);
}

}  // namespace invar::int4_g128_f16
