// Prepares a row of activations: the plain copies, the choice of the fast one, and the scalar lane records, which are
// the blocks of the definition (quantize_row) moved to the places of the lanes.
#include "cpu/activations.h"

#include <cstring>

#include "arithmetic/quantize.h"
#include "base/check.h"
#include "cpu/linear.h"

namespace invar {
namespace {

constexpr int64_t round_up(int64_t value, int64_t step) { return (value + step - 1) / step * step; }

void prepare_blocks(const float* x, int64_t columns, std::byte* out) {
    const int64_t used = columns / kDotBlock * static_cast<int64_t>(sizeof(QuantizedBlock));
    quantize_row(x, columns, reinterpret_cast<QuantizedBlock*>(out));
    std::memset(out + used, 0, static_cast<size_t>(activation_bytes(ActivationForm::blocks, columns) - used));
}

void prepare_rows(const float* x, int64_t columns, std::byte* out) {
    const int64_t used = columns * static_cast<int64_t>(sizeof(float));
    std::memcpy(out, x, static_cast<size_t>(used));
    std::memset(out + used, 0, static_cast<size_t>(activation_bytes(ActivationForm::rows, columns) - used));
}

void prepare_float_lanes(const float* x, int64_t columns, float* out) {
    for (int64_t first = 0; first < columns; first += kLaneColumns, out += kLaneColumns) {
        if (first + kLaneColumns <= columns) {
            for (int i = 0; i < 32; ++i) {
                for (int b = 0; b < 8; ++b) out[8 * i + b] = x[first + 32 * b + i];
            }
        } else {
            for (int64_t k = 0; k < kLaneColumns; ++k) {
                out[8 * (k % 32) + k / 32] = first + k < columns ? x[first + k] : -0.0f;
            }
        }
    }
}

// Reorders from [k-group][strand][4] to [strand][k-group][4].
void codes_in_the_order_of_columns(int64_t columns, LaneRecord* records) {
    for (int64_t first = 0; first < columns; first += kLaneColumns, ++records) {
        int8_t q[kLaneColumns];
        std::memcpy(q, records->q, sizeof(q));
        for (int b = 0; b < kStrands; ++b) {
            for (int j = 0; j < 8; ++j) std::memcpy(records->q + 32 * b + 4 * j, q + 32 * j + 4 * b, 4);
        }
    }
}

}  // namespace

int64_t activation_bytes(ActivationForm form, int64_t columns) {
    switch (form) {
        case ActivationForm::rows:
            return round_up(columns * static_cast<int64_t>(sizeof(float)), 64);
        case ActivationForm::blocks:
            return round_up(columns / kDotBlock * static_cast<int64_t>(sizeof(QuantizedBlock)), 64);
        case ActivationForm::lanes:
        case ActivationForm::strands:
            return round_up(columns, kLaneColumns) / kLaneColumns * static_cast<int64_t>(sizeof(LaneRecord));
        case ActivationForm::float_lanes:
            return round_up(columns, kLaneColumns) * static_cast<int64_t>(sizeof(float));
    }
    CHECK(false, "an ActivationForm is one of the enumerators");
    return 0;
}

void prepare_activations(ActivationForm form, Isa isa, const float* x, int64_t columns, std::byte* out) {
    switch (form) {
        case ActivationForm::rows:
            return prepare_rows(x, columns, out);
        case ActivationForm::blocks:
            return prepare_blocks(x, columns, out);
        case ActivationForm::lanes:
            CHECK(columns % kDotBlock == 0, "activations are quantised in blocks of 32");
            if (isa == Isa::scalar) return prepare_lanes_scalar(x, columns, reinterpret_cast<LaneRecord*>(out));
            return prepare_lanes_avx2(x, columns, reinterpret_cast<LaneRecord*>(out));
        case ActivationForm::strands:
            prepare_activations(ActivationForm::lanes, isa, x, columns, out);
            return codes_in_the_order_of_columns(columns, reinterpret_cast<LaneRecord*>(out));
        case ActivationForm::float_lanes:
            return prepare_float_lanes(x, columns, reinterpret_cast<float*>(out));
    }
}

void prepare_lanes_scalar(const float* x, int64_t columns, LaneRecord* out) {
    for (int64_t first = 0; first < columns; first += kLaneColumns, ++out) {
        *out = {};
        for (int b = 0; b < kStrands; ++b) {
            if (first + kDotBlock * b >= columns) {
                out->d[b] = out->sx[b] = -0.0f;
                continue;
            }
            QuantizedBlock block;
            quantize_row(x + first + kDotBlock * b, kDotBlock, &block);
            out->d[b] = block.d;
            out->sx[b] = block.sx;
            for (int k = 0; k < kDotBlock; ++k) {
                out->q[32 * (k / 4) + 4 * b + k % 4] = block.q[k];
                out->half_sum[k / 16][b] += block.q[k];
            }
        }
    }
}

}  // namespace invar
