// IQ4_XS encoder: two levels of signed scales for the level table. Layout: iq4_xs.h; the search: scale_search.h.
#include "formats/iq4_xs/iq4_xs.h"

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

}  // namespace invar::iq4_xs
