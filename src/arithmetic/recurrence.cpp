// The recurrences, with one operation per line.
#include "arithmetic/recurrence.h"

#include <cmath>

#include "arithmetic/elementary.h"

namespace invar::law {

float causal_convolution(const float* weight, const float* input, int taps, float bias) {
    float s = bias;
    for (int k = 0; k < taps; ++k) s = std::fma(weight[k], input[k], s);
    return s;
}

float decay(float a, float x, float dt_bias) {
    const float step = softplus(x + dt_bias);
    return exp(a * step);
}

void delta_step(const float* query, const float* key, const float* value, float decay, float beta, int key_width,
                int value_width, float* state, float* out) {
    for (int j = 0; j < value_width; ++j) {
        float p = 0;
        for (int i = 0; i < key_width; ++i) {
            const float kept = state[i * value_width + j] * decay;
            p = std::fma(kept, key[i], p);
        }
        const float difference = value[j] - p;
        const float delta = difference * beta;
        float o = 0;
        for (int i = 0; i < key_width; ++i) {
            float& element = state[i * value_width + j];
            const float kept = element * decay;
            element = std::fma(key[i], delta, kept);
            o = std::fma(element, query[i], o);
        }
        out[j] = o;
    }
}

void state_space_step(const float* c, const float* b, const float* x, float decay, float dt, float d, int key_width,
                      int value_width, float* state, float* out) {
    for (int j = 0; j < value_width; ++j) {
        const float u = dt * x[j];
        float o = 0;
        for (int i = 0; i < key_width; ++i) {
            float& element = state[i * value_width + j];
            const float kept = element * decay;
            element = std::fma(b[i], u, kept);
            o = std::fma(element, c[i], o);
        }
        out[j] = std::fma(d, x[j], o);
    }
}

}  // namespace invar::law
