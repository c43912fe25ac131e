// The kernel for few tokens with 256-bit registers, for AVX2 and AVX-VNNI: 4 rows x up to 3 tokens, with a row's eight
// strands in one register. The rows of a record take turns, since 16 registers do not hold more. More tokens take turns
// while the group's weights are in the L1 cache. It equals dot_quantized(), formats/format.h. IntegerDot, which the
// including file chooses, multiplies the bytes; the readers: linear_weights_ymm.h.
#pragma once

#include "cpu/linear_vector.h"
#include "cpu/linear_weights_ymm.h"

namespace invar {
namespace {

constexpr int kMostTokens = 3;
constexpr int kPrefetchBytes = 6144;  // how far ahead in the stream of weights

// Computes the dots of a row with kT tokens, one k-group after another.
template <FormatId kId, int kT>
struct RowDots {
    Ints id[kT];       // int32
    Ints partial[kT];  // IntegerDot's, of the groups since the last end of a run

    [[gnu::always_inline]] void start(const LaneRecord* x, int64_t stride, int half) {
        INVAR_UNROLL for (int t = 0; t < kT; ++t) id[t] = dot_start<kId>(x[t * stride], half);
    }

    template <int kJ, bool kFirst, bool kLast>
    [[gnu::always_inline]] void add_group(const uint8_t* record, int row, const UpperPlanes& planes,
                                          const LaneRecord* x, int64_t stride) {
        const Ints w = codes<kId, kJ>(record, row, planes);
        INVAR_UNROLL for (int t = 0; t < kT; ++t) {
            IntegerDot::add<kId, kFirst>(id[t], partial[t], w, load_row(x[t * stride].q + 32 * kJ));
            if constexpr (kLast) IntegerDot::end_run(id[t], partial[t]);
        }
    }
};

// The eight groups come in an order that shares lines of nibbles; kOrder is the position since the start of the record.
template <FormatId kId, int kT, int kJ, int kOrder>
[[gnu::always_inline]] inline void add_in_order(RowDots<kId, kT>& dots, const uint8_t* record, int row,
                                                const UpperPlanes& planes, const LaneRecord* x, int64_t stride) {
    constexpr int kRun = IntegerDot::groups_of_run<kId>();
    dots.template add_group<kJ, kOrder % kRun == 0, kOrder % kRun == kRun - 1>(record, row, planes, x, stride);
}

template <FormatId kId, int kT>
[[gnu::always_inline]] inline void add_record(const uint8_t* record, const uint8_t* side, int row, const LaneRecord* x,
                                              int64_t stride, Floats strands[kT]) {
    constexpr Step kStep = RecordOf<kId>::kStep;
    const UpperPlanes planes = load_upper_planes<kId>(record, row);
    RowDots<kId, kT> dots;
    dots.start(x, stride, 0);
    if constexpr (!RecordOf<kId>::kHalves) {
        add_in_order<kId, kT, 0, 0>(dots, record, row, planes, x, stride);
        add_in_order<kId, kT, 4, 1>(dots, record, row, planes, x, stride);
        add_in_order<kId, kT, 1, 2>(dots, record, row, planes, x, stride);
        add_in_order<kId, kT, 5, 3>(dots, record, row, planes, x, stride);
        add_in_order<kId, kT, 2, 4>(dots, record, row, planes, x, stride);
        add_in_order<kId, kT, 6, 5>(dots, record, row, planes, x, stride);
        add_in_order<kId, kT, 3, 6>(dots, record, row, planes, x, stride);
        add_in_order<kId, kT, 7, 7>(dots, record, row, planes, x, stride);
        const Scales s = load_scales<kId>(record, side, row);
        INVAR_UNROLL for (int t = 0; t < kT; ++t) strands[t] =
            add_block<kStep>(strands[t], s, x[t * stride], dots.id[t]);
    } else {
        add_in_order<kId, kT, 0, 0>(dots, record, row, planes, x, stride);
        add_in_order<kId, kT, 1, 1>(dots, record, row, planes, x, stride);
        add_in_order<kId, kT, 2, 2>(dots, record, row, planes, x, stride);
        add_in_order<kId, kT, 3, 3>(dots, record, row, planes, x, stride);
        const Scales s = load_scales<kId>(record, side, row);
        Floats first_sums[kT];
        INVAR_UNROLL for (int t = 0; t < kT; ++t) {
            if constexpr (kStep == Step::two_floats) {
                strands[t] = add_float_half(strands[t], s.s0, x[t * stride], dots.id[t]);
            } else {
                first_sums[t] = first_half_sum(s, dots.id[t]);
            }
        }
        dots.start(x, stride, 1);
        add_in_order<kId, kT, 4, 4>(dots, record, row, planes, x, stride);
        add_in_order<kId, kT, 5, 5>(dots, record, row, planes, x, stride);
        add_in_order<kId, kT, 6, 6>(dots, record, row, planes, x, stride);
        add_in_order<kId, kT, 7, 7>(dots, record, row, planes, x, stride);
        INVAR_UNROLL for (int t = 0; t < kT; ++t) {
            if constexpr (kStep == Step::two_floats) {
                strands[t] = add_float_half(strands[t], s.s1, x[t * stride], dots.id[t]);
            } else {
                strands[t] = add_halves<kStep>(strands[t], s, x[t * stride], first_sums[t], dots.id[t]);
            }
        }
    }
}

template <FormatId kId, int kT>
[[gnu::noinline]] void direct_group(const Product& p, int64_t group, int64_t first_token) {
    using Record = RecordOf<kId>;
    const uint8_t* side = p.weights + group * p.group_bytes;
    const uint8_t* record = side + p.sides_bytes;
    const LaneRecord* x = p.x + first_token * p.records;
    Floats strands[4][kT];
    INVAR_UNROLL for (int row = 0; row < 4; ++row) {
        INVAR_UNROLL for (int t = 0; t < kT; ++t) strands[row][t] = _mm256_setzero_ps();
    }
    for (int64_t k = 0; k < p.records; ++k, record += Record::kMainBytes, side += Record::kSideBytes, ++x) {
        INVAR_UNROLL for (int i = 0; i < Record::kMainBytes / kLineBytes; ++i) {
            _mm_prefetch(reinterpret_cast<const char*>(record + kPrefetchBytes + kLineBytes * i), _MM_HINT_T0);
        }
        INVAR_UNROLL for (int row = 0; row < 4; ++row) {
            add_record<kId, kT>(record, side, row, x, p.records, strands[row]);
        }
    }
    INVAR_UNROLL for (int t = 0; t < kT; ++t) {
        store_results(p, first_token + t, group,
                      strand_totals(strands[0][t], strands[1][t], strands[2][t], strands[3][t]));
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
                default:
                    direct_group<kId, 3>(p, group, token);
                    break;
            }
            token += tokens;
        }
    }
}

constexpr auto kDirect = quantized_table([]<FormatId kId>() -> RunLinear { return direct<kId>; });

}  // namespace

}  // namespace invar
