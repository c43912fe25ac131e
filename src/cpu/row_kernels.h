// The verbs that work on one row at a time, as a table with one row per instruction set. Every entry equals the scalar
// line it cites bit for bit. cpu_ops.cpp decides how rows are split over threads. No entry takes a type that a vector
// file would have to instantiate code for: those files are compiled with instructions that other code must not contain.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "arithmetic/activation.h"
#include "cpu/cached_float.h"
#include "cpu/recurrence_steps.h"
#include "machine/isa.h"

namespace invar {

struct RowKernels {
    std::string_view name;
    Isa isa = Isa::scalar;

    // x[i] = x[i] + y[i]
    void (*add)(float* x, const float* y, int64_t n) = nullptr;
    // x[i] = x[i] * factor
    void (*scale)(float* x, float factor, int64_t n) = nullptr;
    // y[i] = fma(weight, x[i], y[i])
    void (*add_scaled)(float* y, float weight, const float* x, int64_t n) = nullptr;
    // x[i] = x[i] * y[i]
    void (*multiply)(float* x, const float* y, int64_t n) = nullptr;
    // law::activate of gate and up, or of gate alone without up (nullptr); out may be gate or up.
    void (*activate)(const ActivationSpec& spec, const float* gate, const float* up, int64_t n, float* out) = nullptr;
    // x[i] = law::softcap(x[i], cap)
    void (*softcap)(float* x, float cap, int64_t n) = nullptr;
    // law::rms_norm; y may be x.
    void (*rms_norm)(const float* x, const float* weight, int64_t n, float epsilon, float* y) = nullptr;
    // law::l2_norm and law::layer_norm; y may be x.
    void (*l2_norm)(const float* x, int64_t n, float epsilon, float* y) = nullptr;
    void (*layer_norm)(const float* x, const float* weight, const float* bias, int64_t n, float epsilon,
                       float* y) = nullptr;
    // law::rope on one head. cosines, sines: [pairs].
    void (*rope_halves)(float* head, int64_t pairs, const float* cosines, const float* sines) = nullptr;
    void (*rope_adjacent)(float* head, int64_t pairs, const float* cosines, const float* sines) = nullptr;
    // law::softmax; probabilities may be logits.
    void (*softmax)(const float* logits, int64_t n, float* probabilities) = nullptr;
    // f32_to_f16 or f32_to_bf16 of each element (arithmetic/float_types.h); type is not f32.
    void (*narrow)(CachedFloat type, const float* in, int64_t n, uint16_t* out) = nullptr;
    // The taps of n channels, [n, taps], as rows of kChannelsTogether: out is [taps][kChannelsTogether].
    void (*transpose_taps)(const float* weight, int taps, int64_t n, float* out) = nullptr;
    // law::causal_convolution of n channels, and of that law::silu if `silu`. inputs: the rows of the last positions,
    // the oldest first; weights: as transpose_taps leaves them; bias may be nullptr.
    void (*convolve)(const float* const* inputs, const float* weights, int taps, const float* bias, bool silu,
                     int64_t n, float* out) = nullptr;
    // steps[i] = law::softplus(x[i] + dt_bias), decays[i] = law::decay(a, x[i], dt_bias).
    void (*decays)(float a, float dt_bias, const float* x, int64_t n, float* decays, float* steps) = nullptr;
    // law::delta_step and law::state_space_step of each position, in order, for some columns of a head.
    void (*delta_steps)(const HeadColumns& head) = nullptr;
    void (*state_space_steps)(const HeadColumns& head) = nullptr;
    // Returns the first i for which x[i] is a NaN or an infinity, or -1.
    int64_t (*first_non_finite)(const float* x, int64_t n) = nullptr;
};

// The rows in order of preference; the last one is scalar.
std::span<const RowKernels* const> row_kernels();
const RowKernels& choose_row_kernels(Isa highest);

extern const RowKernels kRowKernelsScalar;  // the definition, row_kernels.cpp
extern const RowKernels kRowKernelsAvx2;
extern const RowKernels kRowKernelsAvx512;

}  // namespace invar
