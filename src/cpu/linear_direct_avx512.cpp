// The kernel for decode on AVX-512 VNNI: 4 rows x up to 6 tokens. The eight strands of each row stay in half a register
// for the whole row, so that only y is stored. More tokens take turns while the group's weights are in the L1 cache. It
// is bound by memory at 1 to 3 tokens (docs/kernels.md). It equals dot_quantized(), formats/format.h. The readers:
// linear_weights_avx512.h.
#include "cpu/linear_vector.h"
#include "cpu/linear_weights_avx512.h"

namespace invar {
namespace {

constexpr int kMostTokens = 6;
constexpr int kPrefetchBytes = 6144;  // how far ahead; 3072 and 10240 were 3 to 10 % slower from memory

// Integer dots of the pairs kFirst .. kFirst + kPairs - 1 of a record with kT tokens.
template <FormatId kId, int kPairs, int kT>
struct Dots {
    static constexpr int kHalfCount = RecordOf<kId>::kHalves ? 2 : 1;
    Ints id[kPairs][kHalfCount][kT];

    [[gnu::always_inline]] void start(const LaneRecord* x, int64_t stride) {
        INVAR_UNROLL for (int half = 0; half < kHalfCount; ++half) {
            INVAR_UNROLL for (int t = 0; t < kT; ++t) {
                const Ints first = dot_start<kId>(x[t * stride], half);
                INVAR_UNROLL for (int a = 0; a < kPairs; ++a) id[a][half][t] = first;
            }
        }
    }

    template <int kJ>
    [[gnu::always_inline]] void add_group(const uint8_t* record, int first_pair, const UpperPlanes* planes,
                                          const LaneRecord* x, int64_t stride) {
        Ints w[kPairs];
        INVAR_UNROLL for (int a = 0; a < kPairs; ++a) w[a] = codes<kId, kJ>(record, first_pair + a, planes[a]);
        constexpr int kHalf = kHalfCount == 2 ? kJ / 4 : 0;
        INVAR_UNROLL for (int t = 0; t < kT; ++t) {
            const Ints q = both_rows(static_cast<const void*>(x[t * stride].q + 32 * kJ));
            INVAR_UNROLL for (int a = 0; a < kPairs; ++a) {
                id[a][kHalf][t] = _mm512_dpbusd_epi32(id[a][kHalf][t], w[a], q);
            }
        }
    }

    [[gnu::always_inline]] void add_record(const uint8_t* record, int first_pair, const LaneRecord* x, int64_t stride) {
        UpperPlanes planes[kPairs];
        INVAR_UNROLL for (int a = 0; a < kPairs; ++a) planes[a] = load_upper_planes<kId>(record, first_pair + a);
        start(x, stride);
        // Groups j and j + 4 share the lines of nibbles.
        add_group<0>(record, first_pair, planes, x, stride);
        add_group<4>(record, first_pair, planes, x, stride);
        loads_stay_below();
        add_group<1>(record, first_pair, planes, x, stride);
        add_group<5>(record, first_pair, planes, x, stride);
        loads_stay_below();
        add_group<2>(record, first_pair, planes, x, stride);
        add_group<6>(record, first_pair, planes, x, stride);
        loads_stay_below();
        add_group<3>(record, first_pair, planes, x, stride);
        add_group<7>(record, first_pair, planes, x, stride);
    }
};

template <FormatId kId>
[[gnu::always_inline]] inline Floats add_dots(Floats s, const Scales& w, const LaneRecord& x, const Ints& idot0,
                                              const Ints& idot1) {
    constexpr Step kStep = RecordOf<kId>::kStep;
    if constexpr (kStep == Step::two_floats) {
        return add_float_half(add_float_half(s, w.s0, x, idot0), w.s1, x, idot1);
    } else if constexpr (RecordOf<kId>::kHalves) {
        return add_halves<kStep>(s, w, x, first_half_sum(w, idot0), idot1);
    } else {
        return add_block<kStep>(s, w, x, idot0);
    }
}

template <FormatId kId, int kT>
[[gnu::noinline]] void direct_group(const Product& p, int64_t group, int64_t first_token) {
    using Record = RecordOf<kId>;
    // Both pairs together hide the latency of the dots; with two halves and 3 tokens they would need 36 registers.
    constexpr int kPairs = Record::kHalves && kT > 2 ? 1 : 2;
    constexpr int kSecondHalf = Record::kHalves ? 1 : 0;
    const uint8_t* side = p.weights + group * p.group_bytes;
    const uint8_t* record = side + p.sides_bytes;
    const LaneRecord* x = p.x + first_token * p.records;
    Floats strands[2][kT];
    INVAR_UNROLL for (int pair = 0; pair < 2; ++pair) {
        INVAR_UNROLL for (int t = 0; t < kT; ++t) strands[pair][t] = _mm512_setzero_ps();
    }
    for (int64_t k = 0; k < p.records; ++k, record += Record::kMainBytes, side += Record::kSideBytes, ++x) {
        INVAR_UNROLL for (int i = 0; i < Record::kMainBytes / kLineBytes; ++i) {
            _mm_prefetch(reinterpret_cast<const char*>(record + kPrefetchBytes + kLineBytes * i), _MM_HINT_T0);
        }
        INVAR_UNROLL for (int first = 0; first < 2; first += kPairs) {
            Dots<kId, kPairs, kT> dots;
            dots.add_record(record, first, x, p.records);
            Scales scales[2];
            load_scales<kId>(record, side, scales);
            INVAR_UNROLL for (int t = 0; t < kT; ++t) {
                INVAR_UNROLL for (int a = 0; a < kPairs; ++a) {
                    strands[first + a][t] = add_dots<kId>(strands[first + a][t], scales[first + a], x[t * p.records],
                                                          dots.id[a][0][t], dots.id[a][kSecondHalf][t]);
                }
            }
        }
    }
    INVAR_UNROLL for (int t = 0; t < kT; ++t) {
        store_results(p, first_token + t, group, strand_totals(strands[0][t], strands[1][t]));
    }
}

template <FormatId kId>
void direct(const LinearTask& task) {
    const Product p = product_of<kId>(task);
    for (int64_t group = task.first_row / 4; 4 * group < task.last_row; ++group) {
        int64_t turns = (task.tokens + kMostTokens - 1) / kMostTokens;
        for (int64_t token = 0; turns > 0; --turns) {
            const int64_t tokens = (task.tokens - token + turns - 1) / turns;  // nearly equal: 5 become 3 and 2
            switch (tokens) {
                case 1:
                    direct_group<kId, 1>(p, group, token);
                    break;
                case 2:
                    direct_group<kId, 2>(p, group, token);
                    break;
                case 3:
                    direct_group<kId, 3>(p, group, token);
                    break;
                case 4:
                    direct_group<kId, 4>(p, group, token);
                    break;
                case 5:
                    direct_group<kId, 5>(p, group, token);
                    break;
                default:
                    direct_group<kId, 6>(p, group, token);
                    break;
            }
            token += tokens;
        }
    }
}

constexpr auto kDirect = quantized_table([]<FormatId kId>() -> RunLinear { return direct<kId>; });

}  // namespace

void linear_direct_avx512(const LinearTask& task) { kDirect.entries[static_cast<int>(task.weight->format->id)](task); }

}  // namespace invar
