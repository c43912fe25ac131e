// The vector kernels of the recurrences, written once in the vocabulary of simd_avx2.h and simd_avx512.h. Lanes are
// channels or columns of a state, which never meet. Several positions are computed while a state is in the first
// cache, and each element takes the law's operations in the law's order (arithmetic/recurrence.h). Included after
// row_kernels_body.h, whose helpers it uses.
#pragma once

#include "cpu/recurrence_steps.h"

namespace invar {
namespace {

// out[k][channel] = weight[channel][k] for n channels, n <= kChannelsTogether.
void transpose_taps_of(const float* weight, int taps, int64_t n, float* out) {
    int64_t channel = 0;
    for (; taps == 4 && channel + kLanes <= n; channel += kLanes) {
        Floats columns[4];
        load_columns_of_four(weight + channel * 4, columns);
        for (int k = 0; k < 4; ++k) store(out + k * kChannelsTogether + channel, columns[k]);
    }
    for (; channel < n; ++channel)
        for (int k = 0; k < taps; ++k) out[k * kChannelsTogether + channel] = weight[channel * taps + k];
}

void convolve_channels(const float* const* inputs, const float* weights, int taps, const float* bias, bool silu,
                       int64_t n, float* out) {
    if (taps == 4) {  // as gated delta and Mamba 2 layers have: the pointers stay in registers
        const float *x0 = inputs[0], *x1 = inputs[1], *x2 = inputs[2], *x3 = inputs[3];
        for_lanes(n, [=](int64_t i, int64_t count) {
            const float* const w = weights + i;
            Floats s = bias == nullptr ? broadcast(0.0f) : load_part(bias + i, count);
            s = fma(load_part(w, count), load_part(x0 + i, count), s);
            s = fma(load_part(w + kChannelsTogether, count), load_part(x1 + i, count), s);
            s = fma(load_part(w + 2 * kChannelsTogether, count), load_part(x2 + i, count), s);
            s = fma(load_part(w + 3 * kChannelsTogether, count), load_part(x3 + i, count), s);
            store_part(out + i, silu ? silu_lanes(s) : s, count);
        });
        return;
    }
    for_lanes(n, [&](int64_t i, int64_t count) {
        Floats s = bias == nullptr ? broadcast(0.0f) : load_part(bias + i, count);
        for (int k = 0; k < taps; ++k)
            s = fma(load_part(weights + k * kChannelsTogether + i, count), load_part(inputs[k] + i, count), s);
        store_part(out + i, silu ? silu_lanes(s) : s, count);
    });
}

void decays_of(float a, float dt_bias, const float* x, int64_t n, float* decays, float* steps) {
    const Floats rate = broadcast(a), bias = broadcast(dt_bias);
    for_lanes(n, [&](int64_t i, int64_t count) {
        const Floats step = softplus_lanes(add(load_part(x + i, count), bias));
        store_part(steps + i, step, count);
        store_part(decays + i, exp_lanes(multiply(rate, step)), count);
    });
}

// kVectors registers of columns; of the last one, `count` lanes exist if kPart.
template <bool kPart>
inline Floats load_columns(const float* p, int64_t count) {
    return kPart ? load_first(p, count) : load(p);
}
template <bool kPart>
inline void store_columns(float* p, Floats x, int64_t count) {
    if (kPart) {
        store_first(p, x, count);
    } else {
        store(p, x);
    }
}

// One position. The state is read twice, the second time from a cache.
template <int kVectors, bool kPart>
void delta_one(const HeadColumns& head, int64_t column, int64_t count) {
    const HeadStep& step = head.steps[0];
    float* const state = head.state + column;
    const Floats decay = broadcast(step.decay), beta = broadcast(step.factor);
    Floats p[kVectors], o[kVectors], delta[kVectors];
    for (int v = 0; v < kVectors; ++v) p[v] = o[v] = broadcast(0.0f);
    for (int i = 0; i < head.key_width; ++i) {
        const Floats key = broadcast(step.key[i]);
        for (int v = 0; v < kVectors; ++v) {
            const Floats kept = multiply(load_columns<kPart>(state + i * head.stride + v * kLanes, count), decay);
            p[v] = fma(kept, key, p[v]);
        }
    }
    for (int v = 0; v < kVectors; ++v) {
        const Floats value = load_columns<kPart>(step.value + column + v * kLanes, count);
        delta[v] = multiply(subtract(value, p[v]), beta);
    }
    for (int i = 0; i < head.key_width; ++i) {
        const Floats key = broadcast(step.key[i]), query = broadcast(step.query[i]);
        for (int v = 0; v < kVectors; ++v) {
            float* const place = state + i * head.stride + v * kLanes;
            const Floats element = fma(key, delta[v], multiply(load_columns<kPart>(place, count), decay));
            store_columns<kPart>(place, element, count);
            o[v] = fma(element, query, o[v]);
        }
    }
    for (int v = 0; v < kVectors; ++v) store_columns<kPart>(step.out + column + v * kLanes, o[v], count);
}

// Ends position `step`, and takes the next one's decay and product with its key in the same walk over the state. `kept`
// is [key_width][kVectors registers], the state times the decay of the position that it is at.
template <int kVectors>
inline void delta_advance(const HeadStep& step, const HeadStep& next, int key_width, const Floats (&delta)[kVectors],
                          float* kept, Floats (&o)[kVectors], Floats (&p)[kVectors]) {
    const Floats decay = broadcast(next.decay);
    for (int i = 0; i < key_width; ++i) {
        const Floats key = broadcast(step.key[i]), query = broadcast(step.query[i]), next_key = broadcast(next.key[i]);
        for (int v = 0; v < kVectors; ++v) {
            float* const place = kept + (i * kVectors + v) * kLanes;
            const Floats element = fma(key, delta[v], load(place));
            o[v] = fma(element, query, o[v]);
            const Floats then = multiply(element, decay);
            store(place, then);
            p[v] = fma(then, next_key, p[v]);
        }
    }
}

// Fetches what position `step` is computed from: the inputs of two positions lie a row apart, where no reader ahead of
// its own finds them.
inline void fetch_step(const HeadStep& step, int key_width, int64_t column, int64_t columns) {
    for (int64_t i = 0; i < key_width; i += kLine) {
        _mm_prefetch(reinterpret_cast<const char*>(step.key + i), _MM_HINT_T0);
        _mm_prefetch(reinterpret_cast<const char*>(step.query + i), _MM_HINT_T0);
    }
    for (int64_t i = column; i < column + columns; i += kLine) {
        _mm_prefetch(reinterpret_cast<const char*>(step.value + i), _MM_HINT_T0);
        _mm_prefetch(reinterpret_cast<const char*>(step.out + i), _MM_HINT_T0);
    }
}

// Several positions.
template <int kVectors, bool kPart>
void delta_many(const HeadColumns& head, int64_t column, int64_t count) {
    float* const state = head.state + column;
    float* const kept = head.scratch;
    Floats p[kVectors], o[kVectors], delta[kVectors];
    for (int v = 0; v < kVectors; ++v) p[v] = broadcast(0.0f);
    const Floats decay = broadcast(head.steps[0].decay);
    for (int i = 0; i < head.key_width; ++i) {
        const Floats key = broadcast(head.steps[0].key[i]);
        for (int v = 0; v < kVectors; ++v) {
            const Floats t = multiply(load_columns<kPart>(state + i * head.stride + v * kLanes, count), decay);
            store(kept + (i * kVectors + v) * kLanes, t);
            p[v] = fma(t, key, p[v]);
        }
    }
    for (int s = 0; s < head.count; ++s) {
        const HeadStep& step = head.steps[s];
        if (s + 2 < head.count) fetch_step(head.steps[s + 2], head.key_width, column, kVectors * kLanes);
        const Floats beta = broadcast(step.factor);
        for (int v = 0; v < kVectors; ++v) {
            const Floats value = load_columns<kPart>(step.value + column + v * kLanes, count);
            delta[v] = multiply(subtract(value, p[v]), beta);
            p[v] = o[v] = broadcast(0.0f);
        }
        if (s + 1 < head.count) {
            delta_advance<kVectors>(step, head.steps[s + 1], head.key_width, delta, kept, o, p);
        } else {
            for (int i = 0; i < head.key_width; ++i) {
                const Floats key = broadcast(step.key[i]), query = broadcast(step.query[i]);
                for (int v = 0; v < kVectors; ++v) {
                    const Floats element = fma(key, delta[v], load(kept + (i * kVectors + v) * kLanes));
                    store_columns<kPart>(state + i * head.stride + v * kLanes, element, count);
                    o[v] = fma(element, query, o[v]);
                }
            }
        }
        for (int v = 0; v < kVectors; ++v) store_columns<kPart>(step.out + column + v * kLanes, o[v], count);
    }
}

void delta_columns(const HeadColumns& head) {
    int64_t column = 0;
    if (head.count == 1) {
        for (; column + 8 * kLanes <= head.columns; column += 8 * kLanes) delta_one<8, false>(head, column, kLanes);
        for (; column + 4 * kLanes <= head.columns; column += 4 * kLanes) delta_one<4, false>(head, column, kLanes);
        for (; column + kLanes <= head.columns; column += kLanes) delta_one<1, false>(head, column, kLanes);
        if (column < head.columns) delta_one<1, true>(head, column, head.columns - column);
        return;
    }
    for (; column + 4 * kLanes <= head.columns; column += 4 * kLanes) delta_many<4, false>(head, column, kLanes);
    for (; column + kLanes <= head.columns; column += kLanes) delta_many<1, false>(head, column, kLanes);
    if (column < head.columns) delta_many<1, true>(head, column, head.columns - column);
}

// kSteps positions from `steps` on, in one walk over the state.
template <int kVectors, int kSteps, bool kPart>
inline void state_space_walk(const HeadColumns& head, const HeadStep* steps, int64_t column, int64_t count) {
    float* const state = head.state + column;
    Floats u[kSteps][kVectors], o[kSteps][kVectors], decay[kSteps];
    for (int s = 0; s < kSteps; ++s) {
        const Floats dt = broadcast(steps[s].factor);
        decay[s] = broadcast(steps[s].decay);
        for (int v = 0; v < kVectors; ++v) {
            u[s][v] = multiply(dt, load_columns<kPart>(steps[s].value + column + v * kLanes, count));
            o[s][v] = broadcast(0.0f);
        }
    }
    for (int i = 0; i < head.key_width; ++i) {
        Floats key[kSteps], query[kSteps];
        for (int s = 0; s < kSteps; ++s) {
            key[s] = broadcast(steps[s].key[i]);
            query[s] = broadcast(steps[s].query[i]);
        }
        for (int v = 0; v < kVectors; ++v) {
            float* const place = state + i * head.stride + v * kLanes;
            Floats element = load_columns<kPart>(place, count);
            for (int s = 0; s < kSteps; ++s) {
                element = fma(key[s], u[s][v], multiply(element, decay[s]));
                o[s][v] = fma(element, query[s], o[s][v]);
            }
            store_columns<kPart>(place, element, count);
        }
    }
    const Floats skip = broadcast(head.skip);
    for (int s = 0; s < kSteps; ++s) {
        for (int v = 0; v < kVectors; ++v) {
            const int64_t first = column + v * kLanes;
            const Floats x = load_columns<kPart>(steps[s].value + first, count);
            store_columns<kPart>(steps[s].out + first, fma(skip, x, o[s][v]), count);
        }
    }
}

template <int kVectors, bool kPart>
void state_space_block(const HeadColumns& head, int64_t column, int64_t count) {
    int s = 0;
    for (; s + 2 <= head.count; s += 2) state_space_walk<kVectors, 2, kPart>(head, head.steps + s, column, count);
    if (s < head.count) state_space_walk<kVectors, 1, kPart>(head, head.steps + s, column, count);
}

void state_space_columns(const HeadColumns& head) {
    int64_t column = 0;
    for (; column + 4 * kLanes <= head.columns; column += 4 * kLanes) state_space_block<4, false>(head, column, kLanes);
    for (; column + kLanes <= head.columns; column += kLanes) state_space_block<1, false>(head, column, kLanes);
    if (column < head.columns) state_space_block<1, true>(head, column, head.columns - column);
}

constexpr RowKernels make_row_kernels(std::string_view name, Isa isa) {
    RowKernels kernels;
    kernels.name = name;
    kernels.isa = isa;
    kernels.add = add_rows;
    kernels.scale = scale_row;
    kernels.add_scaled = add_scaled_row;
    kernels.multiply = multiply_rows;
    kernels.activate = activate_rows;
    kernels.softcap = softcap_row;
    kernels.rms_norm = rms_norm_row;
    kernels.l2_norm = l2_norm_row;
    kernels.layer_norm = layer_norm_row;
    kernels.rope_halves = rope_halves_head;
    kernels.rope_adjacent = rope_adjacent_head;
    kernels.softmax = softmax_row;
    kernels.narrow = narrow_row;
    kernels.transpose_taps = transpose_taps_of;
    kernels.convolve = convolve_channels;
    kernels.decays = decays_of;
    kernels.delta_steps = delta_columns;
    kernels.state_space_steps = state_space_columns;
    kernels.first_non_finite = first_non_finite_in;
    return kernels;
}

}  // namespace
}  // namespace invar
