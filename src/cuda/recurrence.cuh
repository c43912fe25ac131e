// The recurrences of hybrid models on the state of a layer in device memory: the causal convolution, the gated delta
// rule and Mamba 2 (arithmetic/recurrence.h). Channels, heads and columns of a head run side by side. The rows of one
// sequence are walked in order by one block, so every chunking of a prompt gives the same bits.
#pragma once

#include "arithmetic/recurrence.h"
#include "cuda/attention.cuh"
#include "ops/verb_call.h"

namespace invar::cuda {

inline constexpr int kChannelThreads = 128;
inline constexpr int kStateColumns = 32;    // of a head that a block holds in shared memory
inline constexpr int kMostStateKeys = 256;  // the largest width of a key, or of a state of Mamba 2

// The state of a layer: slot s is at s * unit_bytes + at.
struct StateLayer {
    Global<uint8_t> memory;
    int64_t unit_bytes = 0, at = 0;

    SIMT_DEVICE Global<float> slot(int64_t s) const { return simt::view<float>(memory + (s * unit_bytes + at)); }
};

// The runs of a batch: consecutive rows of one sequence. The pages of `batch` are one slot for each sequence.
struct Runs {
    BatchRows batch;
    Global<const int32_t> first, rows;  // [count]
    int count = 0;

    SIMT_DEVICE int32_t sequence(int run) const {
        const int32_t row = first[run];
        return batch.sequences[row];
    }
    SIMT_DEVICE int64_t slot(int run) const {
        const int32_t row = first[run];
        return batch.page(row, 0);
    }
    // Whether a run before this one belongs to the same sequence; the block of that run then walks both.
    SIMT_DEVICE bool continues_another(int run) const {
        const int32_t mine = sequence(run);
        for (int i = 0; i < run; ++i)
            if (sequence(i) == mine) return true;
        return false;
    }
};

// law::causal_convolution, then law::silu if `silu`. Grid: (ceil(channels / kChannelThreads), runs).
struct ConvolutionArgs {
    Rows x, out;
    Global<const float> weight, bias;  // [channels][taps]; [channels] or empty
    StateLayer columns;                // [taps - 1][channels], the oldest first
    Runs runs;
    int64_t channels = 0;
    int taps = 0;
    int silu = 1;
    Inspector inspector;
};

SIMT_KERNEL(kChannelThreads) causal_convolution_kernel(ConvolutionArgs args) {
    const int64_t channel = int64_t{simt::block_index()} * kChannelThreads + simt::thread_index();
    const int run = simt::block_index_y();
    if (channel >= args.channels || args.runs.continues_another(run)) return;
    const Global<float> columns = args.columns.slot(args.runs.slot(run)) + channel;
    // The inputs stand at the end of the window, the current one last, so that every index is known to the compiler.
    const int start = kMostTaps - args.taps;
    float window[kMostTaps] = {}, weight[kMostTaps] = {};
    SIMT_UNROLL
    for (int k = 0; k < kMostTaps; ++k) {
        if (k < start) continue;
        weight[k] = args.weight[channel * args.taps + k - start];
        if (k < kMostTaps - 1) window[k] = columns[(k - start) * args.channels];
    }
    float bias = 0.0f;
    if (!simt::is_null(args.bias)) bias = args.bias[channel];
    const int32_t sequence = args.runs.sequence(run);
    for (int r = run; r < args.runs.count; ++r) {
        if (args.runs.sequence(r) != sequence) continue;
        const int32_t first = args.runs.first[r], rows = args.runs.rows[r];
        for (int64_t row = first; row < first + rows; ++row) {
            window[kMostTaps - 1] = args.x.row(row)[channel];
            float s = bias;
            SIMT_UNROLL
            for (int k = 0; k < kMostTaps; ++k)
                if (k >= start) s = simt::fma(weight[k], window[k], s);
            const float result = args.silu != 0 ? law::steps::silu(s) : s;
            args.out.row(row)[channel] = result;
            inspect(args.inspector, row, channel, result);
            SIMT_UNROLL
            for (int k = 0; k < kMostTaps - 1; ++k) window[k] = window[k + 1];
        }
    }
    SIMT_UNROLL
    for (int k = 0; k < kMostTaps - 1; ++k)
        if (k >= start) columns[(k - start) * args.channels] = window[k];
}

// law::delta_step or law::state_space_step of every row. Grid: (ceil(value_width / kStateColumns), value heads, runs),
// kStateColumns threads; a thread owns one column of a head's state.
struct RecurrenceArgs {
    Rows x, gates, out;
    Global<const float> a, dt_bias, d;  // [value_heads]; d: of Mamba 2
    StateLayer state;                   // [value_heads][key_width][value_width]
    Runs runs;
    int key_heads = 0, value_heads = 0, key_width = 0, value_width = 0;
    int interleaved = 0;
    Inspector inspector;
};

// The places of a head's operands in a row of x, and its numbers.
struct RecurrenceHead {
    int64_t query, key, value;  // Mamba 2: C, B and x
    float a, dt_bias, d;
};

template <bool kDelta>
SIMT_DEVICE RecurrenceHead recurrence_head(const RecurrenceArgs& args, int head) {
    const int key_head = args.interleaved != 0 ? head % args.key_heads : head / (args.value_heads / args.key_heads);
    const int64_t keys = int64_t{args.key_heads} * args.key_width, key = int64_t{key_head} * args.key_width;
    const int64_t value = int64_t{head} * args.value_width, values = int64_t{args.value_heads} * args.value_width;
    RecurrenceHead of{};
    of.query = kDelta ? key : values + keys + key;
    of.key = kDelta ? keys + key : values + key;
    of.value = kDelta ? 2 * keys + value : value;
    of.a = args.a[head];
    of.dt_bias = args.dt_bias[head];
    if constexpr (!kDelta) of.d = args.d[head];
    return of;
}

// One column of law::delta_step. state: element i of the column at i * kStateColumns.
SIMT_DEVICE float delta_column(simt::Shared<float> state, simt::Shared<float> query, simt::Shared<float> key,
                               int key_width, float value, float decay, float beta) {
    float p = 0.0f;
    SIMT_UNROLL_BY(8)
    for (int i = 0; i < key_width; ++i) {
        const float element = state[i * kStateColumns], of_key = key[i];
        const float kept = element * decay;
        p = simt::fma(kept, of_key, p);
    }
    const float difference = value - p;
    const float delta = difference * beta;
    float o = 0.0f;
    SIMT_UNROLL_BY(8)
    for (int i = 0; i < key_width; ++i) {
        const float element = state[i * kStateColumns], of_key = key[i], of_query = query[i];
        const float kept = element * decay;
        const float changed = simt::fma(of_key, delta, kept);
        state[i * kStateColumns] = changed;
        o = simt::fma(changed, of_query, o);
    }
    return o;
}

// One column of law::state_space_step.
SIMT_DEVICE float state_space_column(simt::Shared<float> state, simt::Shared<float> c, simt::Shared<float> b,
                                     int key_width, float x, float decay, float dt, float d) {
    const float u = dt * x;
    float o = 0.0f;
    SIMT_UNROLL_BY(8)
    for (int i = 0; i < key_width; ++i) {
        const float element = state[i * kStateColumns], of_b = b[i], of_c = c[i];
        const float kept = element * decay;
        const float changed = simt::fma(of_b, u, kept);
        state[i * kStateColumns] = changed;
        o = simt::fma(changed, of_c, o);
    }
    return simt::fma(d, x, o);
}

template <bool kDelta>
SIMT_KERNEL(kStateColumns)
recurrence_kernel(RecurrenceArgs args) {
    SIMT_SHARED(float, states, kMostStateKeys* kStateColumns);
    SIMT_SHARED(float, query, kMostStateKeys);
    SIMT_SHARED(float, key, kMostStateKeys);
    const int thread = simt::thread_index(), head = simt::block_index_y(), run = simt::block_index_z();
    if (args.runs.continues_another(run)) return;
    const int column = simt::block_index() * kStateColumns + thread;
    const bool has_column = column < args.value_width;
    const RecurrenceHead of = recurrence_head<kDelta>(args, head);
    const Global<float> stored =
        args.state.slot(args.runs.slot(run)) + (int64_t{head} * args.key_width * args.value_width + column);
    const auto state = states + thread;
    for (int i = 0; has_column && i < args.key_width; ++i) {
        const float element = stored[int64_t{i} * args.value_width];
        state[i * kStateColumns] = element;
    }
    const int32_t sequence = args.runs.sequence(run);
    for (int r = run; r < args.runs.count; ++r) {
        if (args.runs.sequence(r) != sequence) continue;
        const int32_t first = args.runs.first[r], rows = args.runs.rows[r];
        for (int64_t row = first; row < first + rows; ++row) {
            const Global<float> x = args.x.row(row), gates = args.gates.row(row);
            simt::sync_block();  // the row before has been computed
            for (int i = thread; i < args.key_width; i += kStateColumns) {
                const float of_query = x[of.query + i], of_key = x[of.key + i];
                query[i] = of_query;
                key[i] = of_key;
            }
            simt::sync_block();
            if (!has_column) continue;
            const float step = gates[head], value = x[of.value + column];
            const float dt = law::steps::softplus(step + of.dt_bias);
            const float decay = law::steps::exp(of.a * dt);
            float result = 0.0f;
            if constexpr (kDelta) {
                const float gate = gates[args.value_heads + head];
                result = delta_column(state, query, key, args.key_width, value, decay, law::steps::sigmoid(gate));
            } else {
                result = state_space_column(state, query, key, args.key_width, value, decay, dt, of.d);
            }
            const int64_t element = int64_t{head} * args.value_width + column;
            args.out.row(row)[element] = result;
            inspect(args.inspector, row, element, result);
        }
    }
    for (int i = 0; has_column && i < args.key_width; ++i) {
        const float element = state[i * kStateColumns];
        stored[int64_t{i} * args.value_width] = element;
    }
}

}  // namespace invar::cuda
