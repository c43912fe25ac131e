// Encodes INT4 groups with one signed scale each, and moves them into packed rows and back. Layout: int4_groups.h; the
// search: scale_search.h.
#include "formats/int4_groups.h"

#include <type_traits>

#include "formats/code_runs.h"
#include "formats/scale_search.h"

namespace invar::int4_groups {
namespace {

template <class Scale>
Scale stored(float scale) {
    if constexpr (std::is_same_v<Scale, StoredF16>) return scale_search::stored_f16(scale);
    if constexpr (std::is_same_v<Scale, StoredBF16>) return scale_search::stored_bf16(scale);
}

}  // namespace

template <class Scale, int kCount>
void encode(const float* x, const float* importance, Group<Scale, kCount>& block) {
    const scale_search::IntegerCodes codes{-8.0f, 7.0f};
    const scale_search::Block<kCount> input(x, importance);
    block.d = stored<Scale>(scale_search::fit_scale(input.values(), codes));
    const float inverse = scale_search::inverse_or_zero(block.d.value());
    for (int j = 0; j < kCount / 2; ++j) {
        const int low = codes.index(input.x[2 * j] * inverse), high = codes.index(input.x[2 * j + 1] * inverse);
        block.nibbles[j] = static_cast<uint8_t>(low | high << 4);
    }
}

// A record has one scale per 32 weights; the scales of one group are equal.
template <class Scale, int kCount>
void split(const Group<Scale, kCount>& block, int at, RowRecord& row) {
    constexpr int kScales = kCount / 32;
    for (int b = 0; b < kScales; ++b) row.d[kScales * at + b] = block.d.bits();
    code_runs::split_neighbours<kCount / 2>(block.nibbles, row.codes + kCount * at);
}

template <class Scale, int kCount>
void join(const RowRecord& row, int at, Group<Scale, kCount>& block) {
    block.d = Scale::from_bits(row.d[kCount / 32 * at]);
    code_runs::join_neighbours<kCount / 2>(row.codes + kCount * at, block.nibbles);
}

#define INVAR_GROUP(scale, count)                                           \
    template void encode(const float*, const float*, Group<scale, count>&); \
    template void split(const Group<scale, count>&, int, RowRecord&);       \
    template void join(const RowRecord&, int, Group<scale, count>&);
INVAR_GROUP(StoredBF16, 32)
INVAR_GROUP(StoredBF16, 128)
INVAR_GROUP(StoredF16, 128)
#undef INVAR_GROUP

}  // namespace invar::int4_groups
