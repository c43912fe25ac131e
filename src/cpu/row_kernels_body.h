// The vector row kernels, written once in the vocabulary of simd_avx2.h and simd_avx512.h: a .cpp file for each
// instruction set includes its simd header, elementary_body.h, this file and recurrence_kernels_body.h. They equal
// row_kernels.cpp bit for bit. row_kernels_table.cpp decides which are chosen.
#pragma once

#include <algorithm>

#include "cpu/row_kernels.h"

namespace invar {
namespace {

constexpr int64_t kReduce = 256;  // lanes of the reduce law
constexpr int kReduceRegisters = kReduce / kLanes;

// Applies `one` to the registers of [0, n): the full ones, then the rest.
template <class Step>
inline void for_lanes(int64_t n, Step step) {
    int64_t i = 0;
    for (; i + kLanes <= n; i += kLanes) step(i, int64_t{kLanes});
    if (i < n) step(i, n - i);
}

// How far ahead of the present element memory is asked for, in elements: past the end of a row is where the next one
// mostly starts, and an address that is none does no harm.
constexpr int64_t kAhead = 1024;
constexpr int64_t kLine = 16;  // elements of a cache line
inline void prefetch(const float* p, int64_t count) {
    for (int64_t i = 0; i < count; i += kLine) __builtin_prefetch(p + i);
}

inline Floats load_part(const float* p, int64_t count) { return count == kLanes ? load(p) : load_first(p, count); }
inline void store_part(float* p, Floats x, int64_t count) {
    if (count == kLanes) {
        store(p, x);
    } else {
        store_first(p, x, count);
    }
}

void add_rows(float* x, const float* y, int64_t n) {
    for_lanes(n, [&](int64_t i, int64_t count) {
        store_part(x + i, add(load_part(x + i, count), load_part(y + i, count)), count);
    });
}

void scale_row(float* x, float factor, int64_t n) {
    const Floats factors = broadcast(factor);
    for_lanes(n,
              [&](int64_t i, int64_t count) { store_part(x + i, multiply(load_part(x + i, count), factors), count); });
}

void add_scaled_row(float* y, float weight, const float* x, int64_t n) {
    const Floats weights = broadcast(weight);
    for_lanes(n, [&](int64_t i, int64_t count) {
        store_part(y + i, fma(weights, load_part(x + i, count), load_part(y + i, count)), count);
    });
}

void multiply_rows(float* x, const float* y, int64_t n) {
    for_lanes(n, [&](int64_t i, int64_t count) {
        store_part(x + i, multiply(load_part(x + i, count), load_part(y + i, count)), count);
    });
}

// out = function(gate), times up where there is one.
template <class Function>
inline void gate_rows(const float* gate, const float* up, int64_t n, float* out, Function function) {
    if (up == nullptr) {
        for_lanes(n,
                  [&](int64_t i, int64_t count) { store_part(out + i, function(load_part(gate + i, count)), count); });
    } else {
        for_lanes(n, [&](int64_t i, int64_t count) {
            store_part(out + i, multiply(function(load_part(gate + i, count)), load_part(up + i, count)), count);
        });
    }
}

void clamped_swiglu_rows(const ActivationSpec& spec, const float* gates, const float* ups, int64_t n, float* out) {
    const Floats limit = broadcast(spec.limit), lowest = broadcast(-spec.limit), alpha = broadcast(spec.alpha);
    for_lanes(n, [&](int64_t i, int64_t count) {
        const Floats gate = smaller(limit, load_part(gates + i, count));  // a NaN stays, here and below
        const Floats linear = larger(lowest, smaller(limit, load_part(ups + i, count)));
        const Floats gated = multiply(gate, sigmoid_lanes(multiply(alpha, gate)));
        store_part(out + i, multiply(add(linear, broadcast(1.0f)), gated), count);
    });
}

void activate_rows(const ActivationSpec& spec, const float* gate, const float* up, int64_t n, float* out) {
    switch (spec.kind) {
        case Activation::silu:
            return gate_rows(gate, up, n, out, [](Floats x) { return silu_lanes(x); });
        case Activation::gelu_tanh:
            return gate_rows(gate, up, n, out, [](Floats x) { return gelu_tanh_lanes(x); });
        case Activation::gelu:
            return gate_rows(gate, up, n, out, [](Floats x) { return gelu_lanes(x); });
        case Activation::relu_squared:
            return gate_rows(gate, up, n, out, [](Floats x) {
                const Floats zero = broadcast(0.0f), positive = where_less(x, zero, zero, x);  // a NaN stays
                return multiply(positive, positive);
            });
        case Activation::sigmoid:
            return gate_rows(gate, up, n, out, [](Floats x) { return sigmoid_lanes(x); });
        case Activation::clamped_swiglu:
            return clamped_swiglu_rows(spec, gate, up, n, out);
        case Activation::identity:
            return gate_rows(gate, up, n, out, [](Floats x) { return x; });
    }
}

void softcap_row(float* x, float cap, int64_t n) {
    const Floats caps = broadcast(cap);
    for_lanes(n, [&](int64_t i, int64_t count) {
        store_part(x + i, multiply(caps, tanh_lanes(divide(load_part(x + i, count), caps))), count);
    });
}

// Folds lanes in halves: whole registers, then the lanes of the last one.
template <int kRegisters>
inline Floats fold_registers(Floats (&lanes)[kRegisters]) {
    for (int half = kRegisters / 2; half > 0; half /= 2) {
        for (int j = 0; j < half; ++j) lanes[j] = add(lanes[j], lanes[j + half]);
    }
    return lanes[0];
}
template <int kRegisters>
inline float fold(Floats (&lanes)[kRegisters]) {
    return folded(fold_registers(lanes));
}

// Sums step(lane, element, count), where full registers have a count of kLanes, over [0, n) of x. Lanes are summed in
// stripes that registers hold, over a few rounds of all lanes, so that those in memory are touched rarely.
template <int kRegisters, class Step>
inline float reduce_in(const float* x, int64_t n, Step step) {
    constexpr int kStripe = kRegisters < 2 * kLanes ? kRegisters : kLanes;  // AVX2 has 16 registers, AVX-512 has 32
    constexpr int64_t kRounds = 4;
    Floats lanes[kRegisters];
    if (kRegisters < kReduceRegisters && n == kRegisters * kLanes) {  // heads mostly: no loop, and all in registers
        for (int j = 0; j < kRegisters; ++j) lanes[j] = step(broadcast(0.0f), j * kLanes, int64_t{kLanes});
        return fold(lanes);
    }
    if (n < kReduce) {
        for (Floats& lane : lanes) lane = broadcast(0.0f);
    }
    int64_t start = 0;
    while (start + kReduce <= n) {
        const int64_t end =
            kStripe == kRegisters ? n - n % kReduce : start + std::min(kRounds, (n - start) / kReduce) * kReduce;
        for (int first = 0; first < kRegisters; first += kStripe) {
            Floats stripe[kStripe];
            for (int j = 0; j < kStripe; ++j) stripe[j] = start == 0 ? broadcast(0.0f) : lanes[first + j];
            for (int64_t i = start + first * kLanes; i < end; i += kReduce) {
                prefetch(x + i + kAhead, kStripe * kLanes);
                for (int j = 0; j < kStripe; ++j) stripe[j] = step(stripe[j], i + j * kLanes, int64_t{kLanes});
            }
            for (int j = 0; j < kStripe; ++j) lanes[first + j] = stripe[j];
        }
        start = end;
    }
    for (int j = 0; start < n; ++j, start += kLanes) {
        lanes[j] = step(lanes[j], start, n - start < kLanes ? n - start : kLanes);
    }
    return fold(lanes);
}

// Applies the reduce law over step(lane, term). Terms past the end are +0, and adding that to a lane changes nothing: a
// lane starts at +0, and no sum or fma that follows makes it -0. So lanes that have no term, the upper ones of a row no
// longer than a head, are left out.
template <class Step>
inline float reduce(const float* x, int64_t n, Step step) {
    if (n <= kReduce / 4) return reduce_in<kReduceRegisters / 4>(x, n, step);
    if (n <= kReduce / 2) return reduce_in<kReduceRegisters / 2>(x, n, step);
    return reduce_in<kReduceRegisters>(x, n, step);
}

inline float sum_of(const float* x, int64_t n) {
    return reduce(x, n, [&](Floats lane, int64_t i, int64_t count) { return add(lane, load_part(x + i, count)); });
}
inline float squares_of(const float* x, int64_t n) {
    return reduce(x, n, [&](Floats lane, int64_t i, int64_t count) {
        const Floats t = load_part(x + i, count);
        return fma(t, t, lane);
    });
}
// y[i] = step(i, count), register by register.
template <class Step>
inline void write_row(int64_t n, float* y, Step step) {
    int64_t i = 0;
    if (n > kReduce) {  // shorter rows are parts of one, and would ask for lines far from them
        for (; i + kLine <= n; i += kLine) {
            prefetch(y + i + kAhead, kLine);
            for (int64_t j = 0; j < kLine; j += kLanes) store(y + i + j, step(i + j, int64_t{kLanes}));
        }
    }
    for (; i + kLanes <= n; i += kLanes) store(y + i, step(i, int64_t{kLanes}));
    if (i < n) store_first(y + i, step(i, n - i), n - i);
}
inline float one_over_root(float x) { return 1.0f / _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(x))); }

void l2_norm_row(const float* x, int64_t n, float epsilon, float* y) {
    const Floats factors = broadcast(one_over_root(squares_of(x, n) + epsilon));
    write_row(n, y, [&](int64_t i, int64_t count) { return multiply(load_part(x + i, count), factors); });
}

void layer_norm_row(const float* x, const float* weight, const float* bias, int64_t n, float epsilon, float* y) {
    const Floats mean = broadcast(sum_of(x, n) / static_cast<float>(n));
    const float squares = reduce(x, n, [&](Floats lane, int64_t i, int64_t count) {
        Floats centred = subtract(load_part(x + i, count), mean);
        if (count < kLanes) centred = keep_lanes(centred, 0, 0, static_cast<int>(count), 0.0f);
        return fma(centred, centred, lane);
    });
    const Floats factors = broadcast(one_over_root(squares / static_cast<float>(n) + epsilon));
    write_row(n, y, [&](int64_t i, int64_t count) {
        const Floats scaled = multiply(subtract(load_part(x + i, count), mean), factors);
        const Floats weights = load_part(weight + i, count);
        return bias == nullptr ? multiply(scaled, weights) : fma(scaled, weights, load_part(bias + i, count));
    });
}

void rms_norm_row(const float* x, const float* weight, int64_t n, float epsilon, float* y) {
    const Floats factors = broadcast(one_over_root(squares_of(x, n) / static_cast<float>(n) + epsilon));
    write_row(n, y, [&](int64_t i, int64_t count) {
        const Floats scaled = multiply(load_part(x + i, count), factors);
        return weight == nullptr ? scaled : multiply(scaled, load_part(weight + i, count));
    });
}

void rope_halves_head(float* head, int64_t pairs, const float* cosines, const float* sines) {
    for_lanes(pairs, [&](int64_t i, int64_t count) {
        const Floats x0 = load_part(head + i, count), x1 = load_part(head + pairs + i, count);
        const Floats cosine = load_part(cosines + i, count), sine = load_part(sines + i, count);
        store_part(head + i, negated_fma(x1, sine, multiply(x0, cosine)), count);
        store_part(head + pairs + i, fma(x0, sine, multiply(x1, cosine)), count);
    });
}

// Lanes (x0, x1, x0', x1', ...): y = fma(swapped, (-sin, sin, ...), x * (cos, cos, ...)).
void rope_adjacent_head(float* head, int64_t pairs, const float* cosines, const float* sines) {
    int64_t pair = 0;
    for (; pair + kLanes / 2 <= pairs; pair += kLanes / 2) {
        const Floats x = load(head + 2 * pair);
        const Floats turned =
            fma(swap_neighbours(x), negate_even(load_doubled(sines + pair)), multiply(x, load_doubled(cosines + pair)));
        store(head + 2 * pair, turned);
    }
    for (; pair < pairs; ++pair) {
        const float x0 = head[2 * pair], x1 = head[2 * pair + 1];
        head[2 * pair] = __builtin_fmaf(-x1, sines[pair], x0 * cosines[pair]);
        head[2 * pair + 1] = __builtin_fmaf(x0, sines[pair], x1 * cosines[pair]);
    }
}

void softmax_row(const float* logits, int64_t n, float* probabilities) {
    // The largest in any order: two orders differ at most in the sign of a zero, and then exp gives 1 either way. A NaN
    // makes the total NaN and so every probability, as in the law.
    Floats most = broadcast(logits[0]);
    for_lanes(n, [&](int64_t i, int64_t count) {
        const Floats x = load_part(logits + i, count);
        most = larger(count == kLanes ? x : keep_lanes(x, 0, 0, static_cast<int>(count), logits[0]), most);
    });
    const Floats largest = broadcast(largest_of(most));
    for_lanes(n, [&](int64_t i, int64_t count) {
        store_part(probabilities + i, exp_lanes(subtract(load_part(logits + i, count), largest)), count);
    });
    const Floats total = broadcast(sum_of(probabilities, n));
    for_lanes(n, [&](int64_t i, int64_t count) {
        store_part(probabilities + i, divide(load_part(probabilities + i, count), total), count);
    });
}

void narrow_row(CachedFloat type, const float* in, int64_t n, uint16_t* out) {
    for_lanes(n, [&](int64_t i, int64_t count) {
        const Floats x = load_part(in + i, count);
        uint16_t rest[kLanes];
        uint16_t* place = count == kLanes ? out + i : rest;
        if (type == CachedFloat::f16) {
            store_f16(place, x);
        } else {
            store_bf16(place, x);
        }
        if (count < kLanes) {
            for (int64_t j = 0; j < count; ++j) out[i + j] = rest[j];
        }
    });
}

// Zero times a number is a zero, and a NaN otherwise. Rows are finite nearly always, so a register costs one operation.
bool all_finite(const float* x, int64_t n) {
    constexpr int kSums = 64 / kLanes;
    const Floats zero = broadcast(0.0f);
    Floats sum = zero;
    int64_t i = 0;
    if (n >= kSums * kLanes) {
        Floats sums[kSums];
        for (int j = 0; j < kSums; ++j) sums[j] = multiply(load(x + j * kLanes), zero);
        for (i = kSums * kLanes; i + kSums * kLanes <= n; i += kSums * kLanes) {
            for (int j = 0; j < kSums; ++j) sums[j] = fma(load(x + i + j * kLanes), zero, sums[j]);
        }
        sum = fold_registers(sums);
    }
    for (; i < n; i += kLanes) sum = fma(load_part(x + i, std::min<int64_t>(n - i, kLanes)), zero, sum);
    return !any_non_finite(sum);
}

int64_t first_non_finite_in(const float* x, int64_t n) {
    if (all_finite(x, n)) return -1;
    for (int64_t i = 0; i < n; ++i) {
        if ((__builtin_bit_cast(uint32_t, x[i]) & 0x7F800000u) == 0x7F800000u) return i;
    }
    return -1;
}

}  // namespace
}  // namespace invar
