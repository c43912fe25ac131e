// Products of float weights on rows4 records, written once in the words of simd_avx2.h or simd_avx512.h. Equal to
// dot_float bit for bit: a strand of a row is a lane, steps are taken in rising order. A register holds the strands of
// one row (AVX2) or of two (AVX-512); rows of a group x a few tokens are in flight together to cover the latency of
// fma. The layout: float_products.h.
#pragma once

#include "base/unroll.h"
#include "cpu/float_products.h"

namespace invar {
namespace {

constexpr int kRowsOfRegister = kLanes / 8;
constexpr int kRegistersOfGroup = 4 / kRowsOfRegister;  // of the four rows of a group
constexpr int64_t kStepElements = 32;                   // of a record: 4 rows x 8 lanes
constexpr int64_t kSteps = 32;                          // of a record
constexpr int64_t kRecordColumns = 256;

template <FormatId format>
inline Floats load_weights(const std::byte* elements, int64_t index) {
    if constexpr (format == FormatId::f32) {
        return load(reinterpret_cast<const float*>(elements) + index);
    } else if constexpr (format == FormatId::f16) {
        return load_f16(reinterpret_cast<const uint16_t*>(elements) + index);
    } else {
        return load_bf16(reinterpret_cast<const uint16_t*>(elements) + index);
    }
}

// The four rows of a group times kTokens tokens. x: prepared rows, `x_stride` floats apart. out: [kTokens], out_stride
// floats apart, `rows` of which (1 to 4) exist.
template <FormatId format, int kTokens>
void multiply_group(const std::byte* group, int64_t records, const float* x, int64_t x_stride, float* out,
                    int64_t out_stride, int rows) {
    Floats strands[kRegistersOfGroup][kTokens];
    INVAR_UNROLL for (int w = 0; w < kRegistersOfGroup; ++w) {
        INVAR_UNROLL for (int t = 0; t < kTokens; ++t) strands[w][t] = broadcast(0.0f);
    }
    for (int64_t step = 0; step < records * kSteps; ++step) {
        Floats weights[kRegistersOfGroup];
        INVAR_UNROLL for (int w = 0; w < kRegistersOfGroup; ++w) {
            weights[w] = load_weights<format>(group, step * kStepElements + w * kLanes);
        }
        INVAR_UNROLL for (int t = 0; t < kTokens; ++t) {
            const Floats activations = load_strands(x + t * x_stride + step * 8);
            INVAR_UNROLL for (int w = 0; w < kRegistersOfGroup; ++w) {
                strands[w][t] = fma(weights[w], activations, strands[w][t]);
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

template <FormatId format>
void multiply_rows(const LinearTask& task) {
    const WeightMatrix& weight = *task.weight;
    const int64_t records = (weight.columns + kRecordColumns - 1) / kRecordColumns;
    const int64_t element_bytes = format == FormatId::f32 ? 4 : 2;
    const int64_t group_bytes = records * kSteps * kStepElements * element_bytes;
    const int64_t x_stride = records * kRecordColumns;
    const auto* x = reinterpret_cast<const float*>(task.activations);
    for (int64_t row = task.first_row; row < task.last_row; row += 4) {
        const std::byte* group = weight.data + row / 4 * group_bytes;
        const int rows = task.last_row - row < 4 ? static_cast<int>(task.last_row - row) : 4;
        float* out = task.out + row;
        int64_t token = 0;
        for (; token + kProductTokens <= task.tokens; token += kProductTokens) {
            multiply_group<format, kProductTokens>(group, records, x + token * x_stride, x_stride,
                                                   out + token * task.out_stride, task.out_stride, rows);
        }
        for (; token < task.tokens; ++token) {
            multiply_group<format, 1>(group, records, x + token * x_stride, x_stride, out + token * task.out_stride,
                                      task.out_stride, rows);
        }
    }
}

inline void multiply_floats(const LinearTask& task) {
    switch (task.weight->format->id) {
        case FormatId::f32:
            return multiply_rows<FormatId::f32>(task);
        case FormatId::f16:
            return multiply_rows<FormatId::f16>(task);
        default:
            return multiply_rows<FormatId::bf16>(task);
    }
}

}  // namespace
}  // namespace invar
