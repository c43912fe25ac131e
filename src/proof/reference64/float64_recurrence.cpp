#include "proof/reference64/float64_recurrence.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "proof/reference64/float64_math.h"

namespace invar::float64 {
namespace {

void convolve(const VerbCall& call, const double* x, std::span<double> state, double* out) {
    const int64_t channels = call.x.width(), taps = call.recurrence->taps;
    double* columns = state.data() + call.recurrence->heads.state_elements();
    for (int64_t channel = 0; channel < channels; ++channel) {
        const float* weight = call.vector->data + channel * taps;
        double sum = call.vector2 == nullptr ? 0.0 : call.vector2->data[channel];
        for (int64_t k = 0; k + 1 < taps; ++k) sum += weight[k] * columns[k * channels + channel];
        sum += weight[taps - 1] * x[channel];
        out[channel] = activate({.kind = call.recurrence->activation}, sum, nullptr);
    }
    if (taps == 1) return;
    std::copy(columns + channels, columns + (taps - 1) * channels, columns);
    std::copy_n(x, channels, columns + (taps - 2) * channels);
}

// state [keys][values] = decay * state + key * (value - what the key already recalls) * beta; out = query * state
void delta_head(const RecurrenceHeads& heads, const double* query, const double* key, const double* value, double decay,
                double beta, double* state, double* out) {
    const int64_t keys = heads.key_width, values = heads.value_width;
    std::vector<double> recalled(static_cast<size_t>(values), 0.0);
    for (int64_t i = 0; i < keys; ++i) {
        for (int64_t j = 0; j < values; ++j) {
            state[i * values + j] *= decay;
            recalled[static_cast<size_t>(j)] += state[i * values + j] * key[i];
        }
    }
    std::fill_n(out, values, 0.0);
    for (int64_t i = 0; i < keys; ++i) {
        for (int64_t j = 0; j < values; ++j) {
            state[i * values + j] += key[i] * beta * (value[j] - recalled[static_cast<size_t>(j)]);
            out[j] += state[i * values + j] * query[i];
        }
    }
}

// state [state width][head width] = decay * state + b * dt * x; out = c * state + d * x
void space_head(const RecurrenceHeads& heads, const double* c, const double* b, const double* x, double decay,
                double dt, double d, double* state, double* out) {
    const int64_t keys = heads.key_width, values = heads.value_width;
    for (int64_t j = 0; j < values; ++j) out[j] = d * x[j];
    for (int64_t i = 0; i < keys; ++i) {
        for (int64_t j = 0; j < values; ++j) {
            state[i * values + j] = state[i * values + j] * decay + b[i] * dt * x[j];
            out[j] += state[i * values + j] * c[i];
        }
    }
}

}  // namespace

void step_recurrence(const VerbCall& call, const double* x, const double* x2, std::span<double> state, double* out) {
    if (call.verb == Verb::causal_convolution) return convolve(call, x, state, out);
    const RecurrenceHeads& heads = call.recurrence->heads;
    const int64_t keys = int64_t{heads.key_heads} * heads.key_width;
    const int64_t values = int64_t{heads.value_heads} * heads.value_width;
    for (int head = 0; head < heads.value_heads; ++head) {
        const int64_t key = int64_t{heads.key_head_of(head)} * heads.key_width;
        const int64_t value = int64_t{head} * heads.value_width;
        double* of_head = state.data() + value * heads.key_width;
        const double dt = softplus(x2[head] + call.vector2->data[head]);
        const double decay = std::exp(call.vector->data[head] * dt);
        if (call.verb == Verb::delta_rule) {
            delta_head(heads, x + key, x + keys + key, x + 2 * keys + value, decay,
                       sigmoid(x2[heads.value_heads + head]), of_head, out + value);
        } else {
            space_head(heads, x + values + keys + key, x + values + key, x + value, decay, dt, call.vector3->data[head],
                       of_head, out + value);
        }
    }
}

}  // namespace invar::float64
