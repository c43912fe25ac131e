// The scalar row of the table: each entry calls the law or repeats its line. Fast copies: row_kernels_avx2.cpp and
// row_kernels_avx512.cpp.
#include "cpu/row_kernels.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <vector>

#include "arithmetic/elementary.h"
#include "arithmetic/float_types.h"
#include "arithmetic/norm.h"
#include "arithmetic/recurrence.h"
#include "arithmetic/softmax.h"

namespace invar {
namespace {

void add(float* x, const float* y, int64_t n) {
    for (int64_t i = 0; i < n; ++i) x[i] = x[i] + y[i];
}

void scale(float* x, float factor, int64_t n) {
    for (int64_t i = 0; i < n; ++i) x[i] = x[i] * factor;
}

void add_scaled(float* y, float weight, const float* x, int64_t n) {
    for (int64_t i = 0; i < n; ++i) y[i] = std::fma(weight, x[i], y[i]);
}

void multiply(float* x, const float* y, int64_t n) {
    for (int64_t i = 0; i < n; ++i) x[i] = x[i] * y[i];
}

void activate(const ActivationSpec& spec, const float* gate, const float* up, int64_t n, float* out) {
    for (int64_t i = 0; i < n; ++i)
        out[i] = up == nullptr ? law::activate(spec, gate[i]) : law::activate(spec, gate[i], up[i]);
}

void softcap(float* x, float cap, int64_t n) {
    for (int64_t i = 0; i < n; ++i) x[i] = law::softcap(x[i], cap);
}

void turn(float& x0, float& x1, float cosine, float sine) {
    const float y0 = std::fma(-x1, sine, x0 * cosine);
    const float y1 = std::fma(x0, sine, x1 * cosine);
    x0 = y0;
    x1 = y1;
}

void rope_halves(float* head, int64_t pairs, const float* cosines, const float* sines) {
    for (int64_t i = 0; i < pairs; ++i) turn(head[i], head[i + pairs], cosines[i], sines[i]);
}

void rope_adjacent(float* head, int64_t pairs, const float* cosines, const float* sines) {
    for (int64_t i = 0; i < pairs; ++i) turn(head[2 * i], head[2 * i + 1], cosines[i], sines[i]);
}

void narrow(CachedFloat type, const float* in, int64_t n, uint16_t* out) {
    if (type == CachedFloat::f16) {
        for (int64_t i = 0; i < n; ++i) out[i] = f32_to_f16(in[i]);
    } else {
        for (int64_t i = 0; i < n; ++i) out[i] = f32_to_bf16(in[i]);
    }
}

void transpose_taps(const float* weight, int taps, int64_t n, float* out) {
    for (int64_t channel = 0; channel < n; ++channel)
        for (int k = 0; k < taps; ++k) out[k * kChannelsTogether + channel] = weight[channel * taps + k];
}

void convolve(const float* const* inputs, const float* weights, int taps, const float* bias, bool silu, int64_t n,
              float* out) {
    std::vector<float> weight(static_cast<size_t>(taps)), window(weight.size());
    for (int64_t channel = 0; channel < n; ++channel) {
        for (int k = 0; k < taps; ++k) {
            weight[static_cast<size_t>(k)] = weights[k * kChannelsTogether + channel];
            window[static_cast<size_t>(k)] = inputs[k][channel];
        }
        const float s =
            law::causal_convolution(weight.data(), window.data(), taps, bias == nullptr ? 0.0f : bias[channel]);
        out[channel] = silu ? law::silu(s) : s;
    }
}

void decays(float a, float dt_bias, const float* x, int64_t n, float* decay_of, float* steps) {
    for (int64_t i = 0; i < n; ++i) {
        steps[i] = law::softplus(x[i] + dt_bias);
        decay_of[i] = law::decay(a, x[i], dt_bias);
    }
}

// The law wants a state without gaps: some columns at a time are copied to the scratch and back.
template <class Step>
void advance_columns(const HeadColumns& head, const Step& step) {
    for (int first = 0; first < head.columns; first += kColumnsTogether) {
        const int width = std::min(kColumnsTogether, head.columns - first);
        float* const state = head.state + first;
        for (int i = 0; i < head.key_width; ++i) std::copy_n(state + i * head.stride, width, head.scratch + i * width);
        for (int s = 0; s < head.count; ++s) step(head.steps[s], first, width);
        for (int i = 0; i < head.key_width; ++i) std::copy_n(head.scratch + i * width, width, state + i * head.stride);
    }
}

void delta_steps(const HeadColumns& head) {
    advance_columns(head, [&](const HeadStep& step, int first, int width) {
        law::delta_step(step.query, step.key, step.value + first, step.decay, step.factor, head.key_width, width,
                        head.scratch, step.out + first);
    });
}

void state_space_steps(const HeadColumns& head) {
    advance_columns(head, [&](const HeadStep& step, int first, int width) {
        law::state_space_step(step.query, step.key, step.value + first, step.decay, step.factor, head.skip,
                              head.key_width, width, head.scratch, step.out + first);
    });
}

int64_t first_non_finite(const float* x, int64_t n) {
    for (int64_t i = 0; i < n; ++i) {
        if ((std::bit_cast<uint32_t>(x[i]) & 0x7F800000u) == 0x7F800000u) return i;
    }
    return -1;
}

}  // namespace

const RowKernels kRowKernelsScalar = {
    .name = "scalar",
    .isa = Isa::scalar,
    .add = add,
    .scale = scale,
    .add_scaled = add_scaled,
    .multiply = multiply,
    .activate = activate,
    .softcap = softcap,
    .rms_norm = law::rms_norm,
    .l2_norm = law::l2_norm,
    .layer_norm = law::layer_norm,
    .rope_halves = rope_halves,
    .rope_adjacent = rope_adjacent,
    .softmax = law::softmax,
    .narrow = narrow,
    .transpose_taps = transpose_taps,
    .convolve = convolve,
    .decays = decays,
    .delta_steps = delta_steps,
    .state_space_steps = state_space_steps,
    .first_non_finite = first_non_finite,
};

}  // namespace invar
