// The recurrences of hybrid models, one token at a time (docs/arithmetic.md, section 8). The law is the token-by-token
// form: a kernel may run heads and columns side by side, never positions, so that every chunking of a prompt gives the
// same bits. Sources: Yang et al. 2024, "Gated Delta Networks" (arXiv 2412.06464); Dao and Gu 2024, "Transformers are
// SSMs" (Mamba 2, arXiv 2405.21060).
#pragma once

#include <cstdint>

namespace invar {

// The heads of a recurrence. Each value head has a state [key_width][value_width] and reads one key head.
struct RecurrenceHeads {
    int key_heads = 0;
    int value_heads = 0;  // a multiple of key_heads
    int key_width = 0;    // of a query and a key; Mamba 2: the width of a state
    int value_width = 0;  // Mamba 2: of a head
    // Value head h reads key head h mod key_heads (Qwen3.5, whose value heads are kept in that order), not
    // h / (value_heads / key_heads).
    bool interleaved = false;

    int key_head_of(int value_head) const {
        return interleaved ? value_head % key_heads : value_head / (value_heads / key_heads);
    }
    int64_t state_elements() const { return int64_t{value_heads} * key_width * value_width; }
    bool operator==(const RecurrenceHeads&) const = default;
};

namespace law {

// One channel of a causal convolution at one position: s = bias (or +0), then s = fma(weight[k], input[k], s) in rising
// k. input[taps - 1] is the current position, input[0] the oldest; positions before the first are +0.
float causal_convolution(const float* weight, const float* input, int taps, float bias);

// How much a head forgets at a position: exp(a * softplus(x + dt_bias)), with a = -exp(A_log) as the model holds it.
float decay(float a, float x, float dt_bias);

// One step of one head of a gated delta rule. state: [key_width][value_width], changed. For each column j:
//   p = +0; for each i: t = state[i][j] * decay, p = fma(t, key[i], p)
//   delta = (value[j] - p) * beta
//   o = +0; for each i: state[i][j] = fma(key[i], delta, t), o = fma(state[i][j], query[i], o)
//   out[j] = o
void delta_step(const float* query, const float* key, const float* value, float decay, float beta, int key_width,
                int value_width, float* state, float* out);

// One step of one head of Mamba 2. state: [key_width][value_width], changed. For each column j, with u = dt * x[j]:
//   o = +0; for each i: state[i][j] = fma(b[i], u, state[i][j] * decay), o = fma(state[i][j], c[i], o)
//   out[j] = fma(d, x[j], o)
void state_space_step(const float* c, const float* b, const float* x, float decay, float dt, float d, int key_width,
                      int value_width, float* state, float* out);

}  // namespace law
}  // namespace invar
