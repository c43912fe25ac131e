// Q8_0 encoder: the largest magnitude becomes 127, without a search. Layout: q8_0.h; the search: scale_search.h.
#include "formats/q8_0/q8_0.h"

#include <algorithm>

#include "formats/scale_search.h"

namespace invar::q8_0 {

void encode(const float* x, const float* importance, Block& block) {
    const scale_search::IntegerCodes codes{-127.0f, 127.0f};
    const scale_search::Block<32> input(x, importance);
    float amax = 0.0f;
    for (const float value : input.x) amax = std::max(amax, std::fabs(value));
    block.d = scale_search::stored_f16(amax / 127.0f);
    const float inverse = scale_search::inverse_or_zero(block.d.value());
    for (int i = 0; i < 32; ++i) block.codes[i] = static_cast<int8_t>(codes.nearest(input.x[i] * inverse));
}

void split(const Block& block, int at, RowRecord& row) {
    row.d[at] = block.d.bits();
    for (int i = 0; i < 32; ++i) row.codes[32 * at + i] = static_cast<uint8_t>(block.codes[i] ^ 0x80);
}

void join(const RowRecord& row, int at, Block& block) {
    block.d = StoredF16::from_bits(row.d[at]);
    for (int i = 0; i < 32; ++i) block.codes[i] = static_cast<int8_t>(row.codes[32 * at + i] ^ 0x80);
}

}  // namespace invar::q8_0
