// Products of float weights on rows4 records, written once in the words of float_weights_avx2.h or
// float_weights_avx512.h. Equal to dot_float bit for bit: a strand of a row is a lane, steps are taken in rising order.
// Rows of a group, or of several, x a few tokens are in flight together to cover the latency of fma. The layout:
// float_products.h.
#pragma once

#include "base/unroll.h"
#include "cpu/float_products.h"
#include "cpu/linear_steps.h"

namespace invar {
namespace {

constexpr int kRowsOfRegister = kLanes / 8;
constexpr int kRegistersOfGroup = 4 / kRowsOfRegister;  // for the four rows of a group
constexpr int64_t kStepElements = 32;                   // per step of a record: 4 rows x 8 lanes
constexpr int64_t kSteps = 32;                          // per record

// The types and sizes of a format's records.
template <FormatId kId>
struct FloatRecord {
    static constexpr RecordLayout kLayout = record_layout(kId);
    static constexpr Elements kElements = kLayout.elements;
    static constexpr bool kE4m3 = kElements == Elements::e4m3;
    static constexpr int kAtOnce = kE4m3 ? 2 : 1;  // steps that one load brings
    static constexpr bool kGrid = kLayout.scales == ScaleForm::f32_of_128;
    static constexpr int64_t kElementBytes = element_bytes(kElements);
    static constexpr int64_t kBytes = kSteps * kStepElements * kElementBytes;

    static constexpr int64_t sides(int64_t records) { return (records * kLayout.side_bytes() + 63) / 64 * 64; }
    static constexpr int64_t group_bytes(int64_t records) { return sides(records) + records * kBytes; }
};

// How the 32 strands of a group lie in registers: a row or two with all their lanes, or (halves) two or four rows with
// lanes 4 h .. 4 h + 3. Halves cost two loads of activations a step in place of one and come without a permutation, so
// elements of 16 bits and fewer that meet a single token are read so.
enum class Lanes : uint8_t { all, halves };
template <FormatId kId, int kTokens>
constexpr Lanes kLanesOf = kTokens == 1 && (FloatRecord<kId>::kE4m3 || FloatRecord<kId>::kElements == Elements::bf16)
                               ? Lanes::halves
                               : Lanes::all;
// Where the strand of a lane of a row is among the strands of a group.
constexpr int strand_place(Lanes lanes, int row, int lane) {
    if (lanes == Lanes::all) return 8 * row + lane;
    return (row / kRowsOfHalf * 2 + lane / 4) * kLanes + row % kRowsOfHalf * 4 + lane % 4;
}

// The scale that multiplies the elements of a record, in each lane. That of the law is 2^8 scale, which overflows to
// infinity, times the elements' 2^-8: taken back at once, it leaves the scale, and infinity where that was.
template <Lanes kHow>
inline Floats grid_scales(const std::byte* side, int half) {
    const auto* const scales = reinterpret_cast<const float*>(side);
    const Floats of_lanes = kHow == Lanes::all ? load_fours(scales) : broadcast(scales[half]);
    return multiply(multiply(of_lanes, broadcast(256.0f)), broadcast(0x1p-8f));
}

// The weights of the four rows in the kAtOnce steps from `step` on, before their scale: [step][register].
template <FormatId kId, Lanes kHow>
[[gnu::always_inline]] inline void load_weights(const std::byte* elements, int64_t step,
                                                Floats (&out)[FloatRecord<kId>::kAtOnce][kRegistersOfGroup]) {
    constexpr Elements kElements = FloatRecord<kId>::kElements;
    const std::byte* const at = elements + step * kStepElements * FloatRecord<kId>::kElementBytes;
    if constexpr (kElements == Elements::e4m3) {
        INVAR_UNROLL for (int w = 0; w < kRegistersOfGroup; w += 2) {
            Floats halves[2][2];
            load_e4m3_halves(reinterpret_cast<const uint8_t*>(at) + w / 2 * kRowsOfHalf * 16, halves);
            INVAR_UNROLL for (int i = 0; i < 2; ++i) {
                if constexpr (kHow == Lanes::all) {
                    rows_of_halves(halves[i], &out[i][w]);
                } else {
                    out[i][w] = halves[i][0], out[i][w + 1] = halves[i][1];
                }
            }
        }
    } else if constexpr (kHow == Lanes::halves) {
        INVAR_UNROLL for (int w = 0; w < kRegistersOfGroup; w += 2) {
            load_bf16_halves(reinterpret_cast<const uint16_t*>(at) + w * kLanes, &out[0][w]);
        }
    } else {
        INVAR_UNROLL for (int w = 0; w < kRegistersOfGroup; ++w) {
            if constexpr (kElements == Elements::f32) {
                out[0][w] = load(reinterpret_cast<const float*>(at) + w * kLanes);
            } else if constexpr (kElements == Elements::f16) {
                out[0][w] = load_f16(reinterpret_cast<const uint16_t*>(at) + w * kLanes);
            } else {
                out[0][w] = load_bf16(reinterpret_cast<const uint16_t*>(at) + w * kLanes);
            }
        }
    }
}

// Eight activations of a step as they meet the registers of a group, of which w and w + 2 meet the same.
template <Lanes kHow>
[[gnu::always_inline]] inline void load_activations(const float* x, Floats (&out)[2]) {
    INVAR_UNROLL for (int w = 0; w < 2; ++w) out[w] =
        kHow == Lanes::all ? load_strands(x) : load_half_strands(x + 4 * w);
}

// Of a single token a strand is a chain of fma. Elements of two bytes and more come slower than the chains of a group
// need, and one stream of them, fetched kAhead bytes before its use, is read as fast as memory allows. Groups of FP8
// take turns, each a stream of its own, for which the same place of the next groups is fetched.
template <FormatId kId>
constexpr int kGroupsOf = FloatRecord<kId>::kE4m3 ? kE4m3Groups : 1;
constexpr int64_t kAhead = 8192;

// The rows of kGroups neighbouring groups times kTokens tokens. x: prepared rows, `x_stride` floats apart. out:
// [kTokens], out_stride floats apart, of which `rows` exist (more than 4 (kGroups - 1)).
template <FormatId kId, int kGroups, int kTokens>
void multiply_groups(const std::byte* group, int64_t records, const float* x, int64_t x_stride, float* out,
                     int64_t out_stride, int rows) {
    using Record = FloatRecord<kId>;
    constexpr int kAtOnce = Record::kAtOnce;
    constexpr Lanes kHow = kLanesOf<kId, kTokens>;
    Floats strands[kGroups][kRegistersOfGroup][kTokens];
    INVAR_UNROLL for (int g = 0; g < kGroups; ++g) {
        INVAR_UNROLL for (int w = 0; w < kRegistersOfGroup; ++w) {
            INVAR_UNROLL for (int t = 0; t < kTokens; ++t) strands[g][w][t] = broadcast(0.0f);
        }
    }
    const int64_t group_bytes = Record::group_bytes(records), sides = Record::sides(records);
    for (int64_t record = 0, step = 0; record < records; ++record) {
        [[maybe_unused]] Floats scales[kGroups][2];
        if constexpr (Record::kGrid) {
            INVAR_UNROLL for (int g = 0; g < kGroups; ++g) {
                INVAR_UNROLL for (int half = 0; half < 2; ++half) {
                    scales[g][half] =
                        grid_scales<kHow>(group + g * group_bytes + record * Record::kLayout.side_bytes(), half);
                }
            }
        }
        for (const int64_t end = step + kSteps; step < end; step += kAtOnce) {
            Floats activations[kAtOnce][kTokens][2];
            INVAR_UNROLL for (int i = 0; i < kAtOnce; ++i) {
                INVAR_UNROLL for (int t = 0; t < kTokens; ++t) {
                    load_activations<kHow>(x + t * x_stride + (step + i) * 8, activations[i][t]);
                }
            }
            INVAR_UNROLL for (int g = 0; g < kGroups; ++g) {
                const std::byte* const elements = group + g * group_bytes + sides;
                if constexpr (kTokens == 1) {
                    constexpr int64_t kLine = kAtOnce * kStepElements * Record::kElementBytes;
                    const int64_t ahead = kGroups == 1 ? kAhead : kGroups * group_bytes;
                    const auto* const at = reinterpret_cast<const char*>(elements) + step * (kLine / kAtOnce) + ahead;
                    for (int64_t line = 0; line < kLine; line += 64) _mm_prefetch(at + line, _MM_HINT_T0);
                }
                Floats weights[kAtOnce][kRegistersOfGroup];
                load_weights<kId, kHow>(elements, step, weights);
                INVAR_UNROLL for (int i = 0; i < kAtOnce; ++i) {
                    if constexpr (Record::kGrid) {
                        INVAR_UNROLL for (int w = 0; w < kRegistersOfGroup; ++w) {
                            weights[i][w] = multiply(weights[i][w], scales[g][kHow == Lanes::all ? 0 : w % 2]);
                        }
                    }
                    INVAR_UNROLL for (int t = 0; t < kTokens; ++t) {
                        INVAR_UNROLL for (int w = 0; w < kRegistersOfGroup; ++w) {
                            strands[g][w][t] = fma(weights[i][w], activations[i][t][w % 2], strands[g][w][t]);
                        }
                    }
                }
            }
        }
    }
    INVAR_UNROLL for (int t = 0; t < kTokens; ++t) {
        alignas(64) float sums[kGroups][kRegistersOfGroup * kLanes];
        INVAR_UNROLL for (int g = 0; g < kGroups; ++g) {
            INVAR_UNROLL for (int w = 0; w < kRegistersOfGroup; ++w) store(sums[g] + w * kLanes, strands[g][w][t]);
        }
        for (int row = 0; row < rows; ++row) {
            const auto strand = [&](int lane) { return sums[row / 4][strand_place(kHow, row % 4, lane)]; };
            float y = strand(0);
            INVAR_UNROLL for (int lane = 1; lane < 8; ++lane) y += strand(lane);
            out[t * out_stride + row] = y;
        }
    }
}

// Widens the group's weights to binary32, as [step][4 rows][8 lanes] with nothing before them.
template <FormatId kId>
void widen_group(const std::byte* group, int64_t records, float* out) {
    using Record = FloatRecord<kId>;
    for (int64_t record = 0, step = 0; record < records; ++record) {
        [[maybe_unused]] Floats scales;
        if constexpr (Record::kGrid) {
            scales = grid_scales<Lanes::all>(group + record * Record::kLayout.side_bytes(), 0);
        }
        for (const int64_t end = step + kSteps; step < end; step += Record::kAtOnce) {
            Floats weights[Record::kAtOnce][kRegistersOfGroup];
            load_weights<kId, Lanes::all>(group + Record::sides(records), step, weights);
            INVAR_UNROLL for (int i = 0; i < Record::kAtOnce; ++i) {
                INVAR_UNROLL for (int w = 0; w < kRegistersOfGroup; ++w) {
                    if constexpr (Record::kGrid) weights[i][w] = multiply(weights[i][w], scales);
                    store(out + (step + i) * kStepElements + w * kLanes, weights[i][w]);
                }
            }
        }
    }
}

// Computes the group's rows for all tokens of the task.
template <FormatId kId>
void multiply_tokens(const LinearTask& task, const std::byte* group, int64_t records, int64_t row, int rows) {
    const int64_t x_stride = records * kRecordColumns;
    const auto* x = reinterpret_cast<const float*>(task.activations);
    float* const out = task.out + row;
    int64_t token = 0;
    for (; token + kProductTokens <= task.tokens; token += kProductTokens) {
        multiply_groups<kId, 1, kProductTokens>(group, records, x + token * x_stride, x_stride,
                                                out + token * task.out_stride, task.out_stride, rows);
    }
    for (; token < task.tokens; ++token) {
        multiply_groups<kId, 1, 1>(group, records, x + token * x_stride, x_stride, out + token * task.out_stride,
                                   task.out_stride, rows);
    }
}

template <FormatId kId>
void multiply_rows(const LinearTask& task) {
    using Record = FloatRecord<kId>;
    const WeightMatrix& weight = *task.weight;
    const int64_t records = (weight.columns + kRecordColumns - 1) / kRecordColumns;
    const int64_t group_bytes = Record::group_bytes(records);
    int64_t row = task.first_row;
    constexpr int kGroups = kGroupsOf<kId>;
    for (; task.tokens == 1 && row + 4 * kGroups <= task.last_row; row += 4 * kGroups) {
        const auto* x = reinterpret_cast<const float*>(task.activations);
        multiply_groups<kId, kGroups, 1>(weight.data + row / 4 * group_bytes, records, x, 0, task.out + row, 0,
                                         4 * kGroups);
    }
    // Reading a one-byte element takes several instructions; with several batches of tokens a group is widened once.
    const bool widened = Record::kElementBytes == 1 && task.tokens >= 2 * kProductTokens &&
                         records * kSteps * kStepElements * 4 <= kLinearScratchBytes;
    for (; row < task.last_row; row += 4) {
        const std::byte* group = weight.data + row / 4 * group_bytes;
        const int rows = task.last_row - row < 4 ? static_cast<int>(task.last_row - row) : 4;
        if (widened) {
            widen_group<kId>(group, records, reinterpret_cast<float*>(task.worker_scratch));
            multiply_tokens<FormatId::f32>(task, task.worker_scratch, records, row, rows);
        } else {
            multiply_tokens<kId>(task, group, records, row, rows);
        }
    }
}

constexpr auto kRows = format_table<RunLinear>([]<FormatId kId>() -> RunLinear {
    if constexpr (record_layout(kId).is_float()) {
        return multiply_rows<kId>;
    } else {
        return nullptr;  // codes: linear_vector.h
    }
});

inline void multiply_floats(const LinearTask& task) { kRows.entries[static_cast<int>(task.weight->format->id)](task); }

}  // namespace
}  // namespace invar
