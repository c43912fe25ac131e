// IQ4_XS encoder: two levels of signed scales for the level table. Layout: iq4_xs.h; the search: scale_search.h.
#include "formats/iq4_xs/iq4_xs.h"

#include <cstring>

#include "formats/code_runs.h"
#include "formats/scale_search.h"

namespace invar::iq4_xs {

void encode(const float* x, const float* importance, Block& block) {
    static constexpr scale_search::LevelCodes codes(iq4_nl::kLevels);
    const scale_search::Block<256> input(x, importance);
    const scale_search::TwoLevelScales fit = scale_search::fit_two_level(input.values(), 8, {-32.0f, 31.0f}, codes);
    block = Block{.d = fit.d, .scale_tops = {}, .scale_lows = {}, .nibbles = {}};
    for (int b = 0; b < 8; ++b) {
        const int stored = fit.scale[b] + 32;
        block.scale_lows[b / 2] |= static_cast<uint8_t>((stored & 15) << (4 * (b % 2)));
        block.scale_tops[b / 4] |= static_cast<uint8_t>((stored >> 4) << (2 * (b % 4)));
        const float inverse = scale_search::inverse_or_zero(fit.d.value() * static_cast<float>(fit.scale[b]));
        for (int l = 0; l < 32; ++l) {
            const int index = codes.index(input.x[32 * b + l] * inverse);
            block.nibbles[16 * b + l % 16] |= static_cast<uint8_t>(index << (l < 16 ? 0 : 4));
        }
    }
}

void split(const Block& block, int, RowRecord& row) {
    row.d[0] = block.d.bits();
    for (int b = 0; b < 8; ++b) {
        row.scale[b] = static_cast<uint8_t>(scale(block, b) + 32);
        code_runs::split_nibbles<16>(block.nibbles + 16 * b, row.codes + 32 * b);
    }
}

void join(const RowRecord& row, int, Block& block) {
    block.d = StoredF16::from_bits(row.d[0]);
    std::memset(block.scale_tops, 0, sizeof(block.scale_tops));
    std::memset(block.scale_lows, 0, sizeof(block.scale_lows));
    for (int b = 0; b < 8; ++b) {
        block.scale_lows[b / 2] |= static_cast<uint8_t>((row.scale[b] & 15) << (4 * (b % 2)));
        block.scale_tops[b / 4] |= static_cast<uint8_t>((row.scale[b] >> 4) << (2 * (b % 4)));
        code_runs::join_nibbles<16>(row.codes + 32 * b, block.nibbles + 16 * b);
    }
}

}  // namespace invar::iq4_xs
