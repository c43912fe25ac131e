// The verbs that compute one element at a time, each in place or from rows of the same shape: activations, factors of
// several kinds, soft caps, gates, copies and the biases of experts. Each equals the function of arithmetic/ that its
// comment names. A thread computes one element. Grid of all: (parts of a row, rows), kPartThreads threads.
#pragma once

#include "arithmetic/activation.h"
#include "cuda/row_kernels.cuh"

namespace invar::cuda {

// The place of a thread's element, which lies outside the row in the last part of it.
struct ElementPlace {
    int64_t row, i;
};
SIMT_DEVICE ElementPlace element_place() {
    return {simt::block_index_y(), int64_t{simt::block_index()} * kPartThreads + simt::thread_index()};
}

// law::activate without a second operand; a clamped SwiGLU always has one.
SIMT_DEVICE float activated(const ActivationSpec& spec, float x) {
    switch (spec.kind) {
        case Activation::silu:
            return law::steps::silu(x);
        case Activation::gelu_tanh:
            return law::steps::gelu_tanh(x);
        case Activation::gelu:
            return law::steps::gelu(x);
        case Activation::sigmoid:
            return law::steps::sigmoid(x);
        case Activation::relu_squared: {
            const float positive = x < 0.0f ? 0.0f : x;  // a NaN stays
            return positive * positive;
        }
        case Activation::identity:
            return x;
        case Activation::clamped_swiglu:
            break;
    }
    return 0.0f;
}
// law::activate of x and up
SIMT_DEVICE float activated(const ActivationSpec& spec, float x, float up) {
    if (spec.kind != Activation::clamped_swiglu) return activated(spec, x) * up;
    const float gate = x > spec.limit ? spec.limit : x;
    float linear = up > spec.limit ? spec.limit : up;
    linear = linear < -spec.limit ? -spec.limit : linear;
    const float gated = gate * law::steps::sigmoid(spec.alpha * gate);
    return (linear + 1.0f) * gated;
}

struct ActivateArgs {
    Rows gate, up, out;  // out may be gate or up
    int has_up = 0;
    ActivationSpec spec;
    int64_t width = 0;
    Inspector inspector;
};

SIMT_KERNEL(kPartThreads) activate_kernel(ActivateArgs args) {
    const auto [row, i] = element_place();
    if (i >= args.width) return;
    const float gate = args.gate.row(row)[i];
    float result = 0.0f;
    if (args.has_up != 0) {
        const float up = args.up.row(row)[i];
        result = activated(args.spec, gate, up);
    } else {
        result = activated(args.spec, gate);
    }
    args.out.row(row)[i] = result;
    inspect(args.inspector, row, i, result);
}

// x = x * factor, and x = law::softcap(x) with a cap in place of the factor.
struct FactorArgs {
    Rows x;
    float factor = 0;
    int64_t width = 0;
    Inspector inspector;
};

SIMT_KERNEL(kPartThreads) scale_kernel(FactorArgs args) {
    const auto [row, i] = element_place();
    if (i >= args.width) return;
    const float result = args.x.row(row)[i] * args.factor;
    args.x.row(row)[i] = result;
    inspect(args.inspector, row, i, result);
}

SIMT_KERNEL(kPartThreads) softcap_kernel(FactorArgs args) {
    const auto [row, i] = element_place();
    if (i >= args.width) return;
    const float x = args.x.row(row)[i];
    const float result = args.factor * law::steps::tanh(simt::divide(x, args.factor));
    args.x.row(row)[i] = result;
    inspect(args.inspector, row, i, result);
}

// Multiplies a row by law::position_scale of its position, which one thread of each block computes: it is in binary64.
struct PositionScaleArgs {
    Rows x;
    Global<const int32_t> positions;  // [rows]
    double beta = 0;
    int64_t length = 1, offset = 0;
    int64_t width = 0;
    Inspector inspector;
};

SIMT_KERNEL(kPartThreads) scale_by_position_kernel(PositionScaleArgs args) {
    SIMT_SHARED(float, factor, 1);
    const auto [row, i] = element_place();
    if (simt::thread_index() == 0) {
        const int32_t position = args.positions[row];
        const int64_t steps = (position + args.offset) / args.length;
        float scale = 1.0f;
        if (steps != 0) {
            const double logarithm = law::steps64::log_of(1.0 + static_cast<double>(steps)).high;
            scale = static_cast<float>(1.0 + args.beta * logarithm);
        }
        factor[0] = scale;
    }
    simt::sync_block();
    if (i >= args.width) return;
    const float of_row = factor[0];
    const float result = args.x.row(row)[i] * of_row;
    args.x.row(row)[i] = result;
    inspect(args.inspector, row, i, result);
}

// x[r, i] = x[r, i] * weight[i mod size]
struct MultiplyArgs {
    Rows x;
    Global<const float> weight;
    int64_t size = 0;
    int64_t width = 0;
    Inspector inspector;
};

SIMT_KERNEL(kPartThreads) multiply_kernel(MultiplyArgs args) {
    const auto [row, i] = element_place();
    if (i >= args.width) return;
    const float x = args.x.row(row)[i], weight = args.weight[i % args.size];
    const float result = x * weight;
    args.x.row(row)[i] = result;
    inspect(args.inspector, row, i, result);
}

// out[r, i] = a[r, i] * law::sigmoid(b[r, 0])
SIMT_KERNEL(kPartThreads) gate_rows_kernel(ElementArgs args) {
    const auto [row, i] = element_place();
    if (i >= args.width) return;
    const float x = args.a.row(row)[i], gate = args.b.row(row)[0];
    const float result = x * law::steps::sigmoid(gate);
    args.out.row(row)[i] = result;
    inspect(args.inspector, row, i, result);
}

// out = a
SIMT_KERNEL(kPartThreads) copy_kernel(ElementArgs args) {
    const auto [row, i] = element_place();
    if (i >= args.width) return;
    const float value = args.a.row(row)[i];
    args.out.row(row)[i] = value;
    inspect(args.inspector, row, i, value);
}

// y[slot, i] = y[slot, i] + bias[expert of the slot * width + i]
struct SlotBiasArgs {
    Rows y;
    Global<const float> bias;
    Global<const int32_t> expert_of_slot;
    int64_t width = 0;
    Inspector inspector;
};

SIMT_KERNEL(kPartThreads) add_slot_bias_kernel(SlotBiasArgs args) {
    const auto [slot, i] = element_place();
    if (i >= args.width) return;
    const int64_t expert = static_cast<int32_t>(args.expert_of_slot[slot]);
    const float y = args.y.row(slot)[i], bias = args.bias[expert * args.width + i];
    const float result = y + bias;
    args.y.row(slot)[i] = result;
    inspect(args.inspector, slot, i, result);
}

}  // namespace invar::cuda
