// Products of float weights on rows4 records, written once in the words of simd_avx2.h or simd_avx512.h. Equal to
// dot_float bit for bit: a strand of a row is a lane, steps are taken in rising order. A register holds the strands of
// one row (AVX2) or of two (AVX-512); rows of a group x a few tokens are in flight together to cover the latency of
// fma. The layout: float_products.h.
#pragma once

#include "base/unroll.h"
#include "cpu/float_products.h"
#include "cpu/linear_steps.h"

namespace invar {
namespace {

constexpr int kRowsOfRegister = kLanes / 8;
constexpr int kRegistersOfGroup = 4 / kRowsOfRegister;  // of the four rows of a group
constexpr int64_t kStepElements = 32;                   // of a record: 4 rows x 8 lanes
constexpr int64_t kSteps = 32;                          // of a record

// The elements of a format's records and what stands before them, as numbers.
template <FormatId kId>
struct FloatRecord {
    static constexpr RecordLayout kLayout = record_layout(kId);
    static constexpr Elements kElements = kLayout.elements;
    static constexpr bool kGrid = kLayout.scales == ScaleForm::f32_of_128;
    static constexpr int64_t kElementBytes = element_bytes(kElements);
    static constexpr int64_t kBytes = kSteps * kStepElements * kElementBytes;

    static constexpr int64_t sides(int64_t records) { return (records * kLayout.side_bytes() + 63) / 64 * 64; }
};

// What multiplies the elements of a record as load_elements gives them: 256 for E4M3, times the grid's scale.
template <FormatId kId>
inline Floats factor_of(const std::byte* side) {
    if constexpr (FloatRecord<kId>::kGrid) {
        return multiply(load_fours(reinterpret_cast<const float*>(side)), broadcast(256.0f));
    }
    return broadcast(256.0f);
}

template <FormatId kId>
inline Floats load_elements(const std::byte* elements, int64_t index) {
    constexpr Elements kElements = FloatRecord<kId>::kElements;
    if constexpr (kElements == Elements::f32) {
        return load(reinterpret_cast<const float*>(elements) + index);
    } else if constexpr (kElements == Elements::f16) {
        return load_f16(reinterpret_cast<const uint16_t*>(elements) + index);
    } else if constexpr (kElements == Elements::bf16) {
        return load_bf16(reinterpret_cast<const uint16_t*>(elements) + index);
    } else {
        return load_e4m3_over_256(reinterpret_cast<const uint8_t*>(elements) + index);
    }
}

template <FormatId kId>
inline Floats load_weights(const std::byte* elements, int64_t index, Floats factor) {
    const Floats weights = load_elements<kId>(elements, index);
    if constexpr (FloatRecord<kId>::kElements != Elements::e4m3) return weights;
    return multiply(weights, factor);
}

// The four rows of a group times kTokens tokens. x: prepared rows, `x_stride` floats apart. out: [kTokens], out_stride
// floats apart, `rows` of which (1 to 4) exist.
template <FormatId kId, int kTokens>
void multiply_group(const std::byte* group, int64_t records, const float* x, int64_t x_stride, float* out,
                    int64_t out_stride, int rows) {
    using Record = FloatRecord<kId>;
    Floats strands[kRegistersOfGroup][kTokens];
    INVAR_UNROLL for (int w = 0; w < kRegistersOfGroup; ++w) {
        INVAR_UNROLL for (int t = 0; t < kTokens; ++t) strands[w][t] = broadcast(0.0f);
    }
    const std::byte* const elements = group + Record::sides(records);
    // A run of steps has one factor: the record's, or none.
    const int64_t runs = Record::kGrid ? records : 1, run_steps = Record::kGrid ? kSteps : records * kSteps;
    for (int64_t run = 0, step = 0; run < runs; ++run) {
        const Floats factor = factor_of<kId>(group + run * Record::kLayout.side_bytes());
        for (const int64_t end = step + run_steps; step < end; ++step) {
            Floats weights[kRegistersOfGroup];
            INVAR_UNROLL for (int w = 0; w < kRegistersOfGroup; ++w) {
                weights[w] = load_weights<kId>(elements, step * kStepElements + w * kLanes, factor);
            }
            INVAR_UNROLL for (int t = 0; t < kTokens; ++t) {
                const Floats activations = load_strands(x + t * x_stride + step * 8);
                INVAR_UNROLL for (int w = 0; w < kRegistersOfGroup; ++w) {
                    strands[w][t] = fma(weights[w], activations, strands[w][t]);
                }
            }
        }
    }
    INVAR_UNROLL for (int t = 0; t < kTokens; ++t) {
        alignas(64) float sums[kRegistersOfGroup * kLanes];  // [4][8]
        INVAR_UNROLL for (int w = 0; w < kRegistersOfGroup; ++w) store(sums + w * kLanes, strands[w][t]);
        for (int row = 0; row < rows; ++row) {
            const float* s = sums + row * 8;
            out[t * out_stride + row] = ((((((s[0] + s[1]) + s[2]) + s[3]) + s[4]) + s[5]) + s[6]) + s[7];
        }
    }
}

// The group's weights as binary32, in the same order of elements and without anything before them.
template <FormatId kId>
void widen_group(const std::byte* group, int64_t records, float* out) {
    using Record = FloatRecord<kId>;
    const std::byte* const elements = group + Record::sides(records);
    for (int64_t record = 0; record < records; ++record) {
        const Floats factor = factor_of<kId>(group + record * Record::kLayout.side_bytes());
        for (int64_t index = record * kSteps * kStepElements; index < (record + 1) * kSteps * kStepElements;
             index += kLanes) {
            store(out + index, load_weights<kId>(elements, index, factor));
        }
    }
}

// The group's rows for all tokens of the task.
template <FormatId kId>
void multiply_tokens(const LinearTask& task, const std::byte* group, int64_t records, int64_t row, int rows) {
    const int64_t x_stride = records * kRecordColumns;
    const auto* x = reinterpret_cast<const float*>(task.activations);
    float* const out = task.out + row;
    int64_t token = 0;
    for (; token + kProductTokens <= task.tokens; token += kProductTokens) {
        multiply_group<kId, kProductTokens>(group, records, x + token * x_stride, x_stride,
                                            out + token * task.out_stride, task.out_stride, rows);
    }
    for (; token < task.tokens; ++token) {
        multiply_group<kId, 1>(group, records, x + token * x_stride, x_stride, out + token * task.out_stride,
                               task.out_stride, rows);
    }
}

template <FormatId kId>
void multiply_rows(const LinearTask& task) {
    using Record = FloatRecord<kId>;
    const WeightMatrix& weight = *task.weight;
    const int64_t records = (weight.columns + kRecordColumns - 1) / kRecordColumns;
    const int64_t group_bytes = Record::sides(records) + records * Record::kBytes;
    // Reading an element of a byte takes several instructions: for several batches of tokens a group is widened once.
    const bool widened = Record::kElementBytes == 1 && task.tokens >= 2 * kProductTokens &&
                         records * kSteps * kStepElements * 4 <= kLinearScratchBytes;
    for (int64_t row = task.first_row; row < task.last_row; row += 4) {
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

inline void multiply_floats(const LinearTask& task) {
    kRows.entries[static_cast<int>(task.weight->format->id)](task);
}

}  // namespace
}  // namespace invar
