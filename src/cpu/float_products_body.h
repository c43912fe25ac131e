// Products of float weights on rows4 records, written once in the vocabulary of simd_avx2.h and simd_avx512.h. They
// equal dot_float bit for bit: a strand of a row is a lane, and steps are taken in rising order. A register holds the
// strands of one row (AVX2) or of two (AVX-512). Rows of a group x a few tokens are in flight together to cover the
// latency of fma. The layout: float_products.h.
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

// The factor of a record's elements as they are loaded: 256 for E4M3, times the grid's scale.
template <FormatId kId>
inline Floats factor_of(const std::byte* side) {
    if constexpr (FloatRecord<kId>::kGrid) {
        return multiply(load_fours(reinterpret_cast<const float*>(side)), broadcast(256.0f));
    }
    return broadcast(256.0f);
}

// The largest codes seen in a group, for formats whose NaN is looked for at the end of a row. A weight that is NaN
// makes y NaN whatever the rest is.
template <FormatId kId>
struct Seen {
    static constexpr int kCodes = FloatRecord<kId>::kE4m3 ? 4 / kRowsOfLine : 1;
    Codes largest[kCodes];

    void clear() { INVAR_UNROLL for (int c = 0; c < kCodes; ++c) largest[c] = no_codes(); }
    unsigned rows() const {  // bit r: row r of the group has a NaN
        unsigned rows = 0;
        if constexpr (FloatRecord<kId>::kE4m3) {
            INVAR_UNROLL for (int c = 0; c < kCodes; ++c) rows |= rows_with_nan(largest[c]) << (c * kRowsOfLine);
        }
        return rows;
    }
};

// The weights of the four rows in the kAtOnce steps from `step` on: [step][register].
template <FormatId kId>
[[gnu::always_inline]] inline void load_weights(const std::byte* elements, int64_t step, Floats factor, Seen<kId>& seen,
                                                Floats (&out)[FloatRecord<kId>::kAtOnce][kRegistersOfGroup]) {
    constexpr Elements kElements = FloatRecord<kId>::kElements;
    if constexpr (kElements == Elements::e4m3) {
        INVAR_UNROLL for (int c = 0; c < Seen<kId>::kCodes; ++c) {
            Floats line[2][2];
            const auto* codes = reinterpret_cast<const uint8_t*>(elements) + step * kStepElements;
            load_e4m3(codes + c * kRowsOfLine * 16, seen.largest[c], line);
            INVAR_UNROLL for (int i = 0; i < 2; ++i) {
                out[i][2 * c] = multiply(line[i][0], factor);
                out[i][2 * c + 1] = multiply(line[i][1], factor);
            }
        }
    } else {
        INVAR_UNROLL for (int w = 0; w < kRegistersOfGroup; ++w) {
            const int64_t index = step * kStepElements + w * kLanes;
            if constexpr (kElements == Elements::f32) {
                out[0][w] = load(reinterpret_cast<const float*>(elements) + index);
            } else if constexpr (kElements == Elements::f16) {
                out[0][w] = load_f16(reinterpret_cast<const uint16_t*>(elements) + index);
            } else {
                out[0][w] = load_bf16(reinterpret_cast<const uint16_t*>(elements) + index);
            }
        }
    }
}

// Multiplies the rows of kGroups neighbouring groups by kTokens tokens. x: prepared rows, `x_stride` floats apart. out:
// [kTokens], out_stride floats apart, of which `rows` exist (more than 4 (kGroups - 1)).
template <FormatId kId, int kGroups, int kTokens>
void multiply_groups(const std::byte* group, int64_t records, const float* x, int64_t x_stride, float* out,
                     int64_t out_stride, int rows) {
    using Record = FloatRecord<kId>;
    constexpr int kAtOnce = Record::kAtOnce;
    Floats strands[kGroups][kRegistersOfGroup][kTokens];
    Seen<kId> seen[kGroups];
    INVAR_UNROLL for (int g = 0; g < kGroups; ++g) {
        seen[g].clear();
        INVAR_UNROLL for (int w = 0; w < kRegistersOfGroup; ++w) {
            INVAR_UNROLL for (int t = 0; t < kTokens; ++t) strands[g][w][t] = broadcast(0.0f);
        }
    }
    const int64_t group_bytes = Record::group_bytes(records), sides = Record::sides(records);
    for (int64_t record = 0, step = 0; record < records; ++record) {
        Floats factors[kGroups];
        INVAR_UNROLL for (int g = 0; g < kGroups; ++g) {
            factors[g] = factor_of<kId>(group + g * group_bytes + record * Record::kLayout.side_bytes());
        }
        for (const int64_t end = step + kSteps; step < end; step += kAtOnce) {
            Floats weights[kGroups][kAtOnce][kRegistersOfGroup];
            INVAR_UNROLL for (int g = 0; g < kGroups; ++g) {
                const std::byte* const elements = group + g * group_bytes + sides;
                // Several groups are several streams, which the hardware follows badly, so the next groups' lines are
                // fetched here.
                if constexpr (kGroups > 1) {
                    constexpr int64_t kLine = kAtOnce * kStepElements * Record::kElementBytes;
                    const auto* const next = reinterpret_cast<const char*>(elements) + kGroups * group_bytes;
                    for (int64_t at = 0; at < kLine; at += 64) {
                        _mm_prefetch(next + step * kStepElements * Record::kElementBytes + at, _MM_HINT_T0);
                    }
                }
                load_weights<kId>(elements, step, factors[g], seen[g], weights[g]);
            }
            INVAR_UNROLL for (int i = 0; i < kAtOnce; ++i) {
                INVAR_UNROLL for (int t = 0; t < kTokens; ++t) {
                    const Floats activations = load_strands(x + t * x_stride + (step + i) * 8);
                    INVAR_UNROLL for (int g = 0; g < kGroups; ++g) {
                        INVAR_UNROLL for (int w = 0; w < kRegistersOfGroup; ++w) {
                            strands[g][w][t] = fma(weights[g][i][w], activations, strands[g][w][t]);
                        }
                    }
                }
            }
        }
    }
    unsigned nan_rows = 0;
    INVAR_UNROLL for (int g = 0; g < kGroups; ++g) nan_rows |= seen[g].rows() << (4 * g);
    INVAR_UNROLL for (int t = 0; t < kTokens; ++t) {
        alignas(64) float sums[kGroups * kRegistersOfGroup * kLanes];  // [4 kGroups][8]
        INVAR_UNROLL for (int g = 0; g < kGroups; ++g) {
            INVAR_UNROLL for (int w = 0; w < kRegistersOfGroup; ++w) {
                store(sums + (g * kRegistersOfGroup + w) * kLanes, strands[g][w][t]);
            }
        }
        for (int row = 0; row < rows; ++row) {
            const float* s = sums + row * 8;
            const float y = ((((((s[0] + s[1]) + s[2]) + s[3]) + s[4]) + s[5]) + s[6]) + s[7];
            out[t * out_stride + row] = (nan_rows >> row & 1) != 0 ? __builtin_nanf("") : y;
        }
    }
}

// Widens the group's weights to binary32, as [step][4 rows][8 lanes] with nothing before them.
template <FormatId kId>
void widen_group(const std::byte* group, int64_t records, float* out) {
    using Record = FloatRecord<kId>;
    Seen<kId> seen;
    seen.clear();
    for (int64_t step = 0; step < records * kSteps; step += Record::kAtOnce) {
        const Floats factor = factor_of<kId>(group + step / kSteps * Record::kLayout.side_bytes());
        Floats weights[Record::kAtOnce][kRegistersOfGroup];
        load_weights<kId>(group + Record::sides(records), step, factor, seen, weights);
        INVAR_UNROLL for (int i = 0; i < Record::kAtOnce; ++i) {
            INVAR_UNROLL for (int w = 0; w < kRegistersOfGroup; ++w) {
                store(out + (step + i) * kStepElements + w * kLanes, weights[i][w]);
            }
        }
    }
    for (int row = 0; row < 4; ++row) {
        if ((seen.rows() >> row & 1) != 0) out[8 * row] = __builtin_nanf("");
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
    // With one token a strand is one chain of fma, so rows of several groups take turns.
    for (; task.tokens == 1 && row + 4 * kProductGroups <= task.last_row; row += 4 * kProductGroups) {
        const auto* x = reinterpret_cast<const float*>(task.activations);
        multiply_groups<kId, kProductGroups, 1>(weight.data + row / 4 * group_bytes, records, x, 0, task.out + row, 0,
                                                4 * kProductGroups);
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
