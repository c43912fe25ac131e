// The scalar row of the table: each entry calls the law or repeats its line. Fast copies: row_kernels_avx2.cpp and
// row_kernels_avx512.cpp.
#include "cpu/row_kernels.h"

#include <array>
#include <bit>
#include <cmath>

#include "arithmetic/elementary.h"
#include "arithmetic/float_types.h"
#include "arithmetic/norm.h"
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

void silu_multiply(const float* gate, const float* up, int64_t n, float* out) {
    for (int64_t i = 0; i < n; ++i) out[i] = law::silu(gate[i]) * up[i];
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
    .silu_multiply = silu_multiply,
    .rms_norm = law::rms_norm,
    .rope_halves = rope_halves,
    .rope_adjacent = rope_adjacent,
    .softmax = law::softmax,
    .narrow = narrow,
    .first_non_finite = first_non_finite,
};

}  // namespace invar
