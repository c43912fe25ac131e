// The verbs that change a recurrence of the sequence state: the causal convolution, the gated delta rule and Mamba 2.
// Threads take channels and heads; each walks the rows of the batch in order, so that a state sees its positions one
// after the other whatever the chunking (docs/arithmetic.md, section 7).
#include <algorithm>

#include "arithmetic/elementary.h"
#include "base/check.h"
#include "cpu/cpu_ops.h"

namespace invar {
namespace {

constexpr int64_t kChannelsOfPart = 256;  // that a thread convolves for all rows

// The rows of a batch in their order, by sequence: rows of one sequence are in rising position order, but those of
// another may lie between them.
template <class Visit>
void for_each_row(const Batch& batch, const Visit& visit) {
    for (int64_t row = 0; row < batch.size(); ++row) visit(row, batch.rows[static_cast<size_t>(row)].sequence);
}

}  // namespace

void CpuOps::convolve(const VerbCall& call) {
    const RecurrenceCall& spec = *call.recurrence;
    const Batch& batch = *call.batch;
    const Tensor x = call.x, out = call.out;
    const int64_t channels = x.width(), taps = spec.taps, history = taps - 1;
    CHECK(x.rows() == batch.size() && out.rows() == batch.size() && out.width() == channels &&
              call.vector->size == channels * taps && taps >= 1 &&
              (call.vector2 == nullptr || call.vector2->size == channels),
          "a convolution has a row for each of the batch and its taps for each channel");
    record_use(call.verb, "", batch.size(), row_kernels_.name);
    if (measuring()) return;
    const float* weight = call.vector->data;
    const int64_t parts = (channels + kChannelsOfPart - 1) / kChannelsOfPart;
    pool_.parallel_items(parts, [&](int64_t part, int worker) {
        const int64_t first = part * kChannelsOfPart, last = std::min(channels, first + kChannelsOfPart);
        for_each_row(batch, [&](int64_t row, int32_t sequence) {
            // [history][channels], the oldest first
            float* columns = call.cache->recurrence(sequence, spec.layer).data() + spec.heads.state_elements();
            const float* inputs = x.host_row(row);
            float* results = out.host_row(row);
            for (int64_t channel = first; channel < last; ++channel) {
                float window[kMostTaps];
                for (int64_t k = 0; k < history; ++k) window[k] = columns[k * channels + channel];
                window[history] = inputs[channel];
                const float bias = call.vector2 == nullptr ? 0.0f : call.vector2->data[channel];
                results[channel] =
                    law::silu(law::causal_convolution(weight + channel * taps, window, static_cast<int>(taps), bias));
                for (int64_t k = 0; k < history; ++k) columns[k * channels + channel] = window[k + 1];
            }
            inspect(worker, 0, row, first, results + first, last - first);
        });
    });
    report_finding(call);
}

void CpuOps::recur(const VerbCall& call) {
    const RecurrenceCall& spec = *call.recurrence;
    const RecurrenceHeads& heads = spec.heads;
    const Batch& batch = *call.batch;
    const Tensor x = call.x, gates = call.x2, out = call.out;
    const bool delta = call.verb == Verb::delta_rule;
    const int64_t keys = int64_t{heads.key_heads} * heads.key_width;
    const int64_t values = int64_t{heads.value_heads} * heads.value_width;
    CHECK(x.rows() == batch.size() && x.width() == 2 * keys + values && gates.rows() == batch.size() &&
              gates.width() == heads.value_heads * (delta ? 2 : 1) && out.rows() == batch.size() &&
              out.width() == values,
          "a recurrence has queries, keys, values and gates for each row of the batch");
    CHECK(call.vector->size == heads.value_heads && call.vector2->size == heads.value_heads &&
              (delta || call.vector3->size == heads.value_heads),
          "the numbers of a recurrence belong to its value heads");
    record_use(call.verb, "", batch.size(), row_kernels_.name);
    if (measuring()) return;
    const int64_t of_head = int64_t{heads.key_width} * heads.value_width;
    pool_.parallel_items(heads.value_heads, [&](int64_t head, int worker) {
        const int64_t key = int64_t{heads.key_head_of(static_cast<int>(head))} * heads.key_width;
        const float a = call.vector->data[head], dt_bias = call.vector2->data[head];
        for_each_row(batch, [&](int64_t row, int32_t sequence) {
            float* state = call.cache->recurrence(sequence, spec.layer).data() + head * of_head;
            const float *inputs = x.host_row(row), *gate = gates.host_row(row);
            float* result = out.host_row(row) + head * heads.value_width;
            const float decay = law::decay(a, gate[head], dt_bias);
            if (delta) {
                const float beta = law::sigmoid(gate[heads.value_heads + head]);
                law::delta_step(inputs + key, inputs + keys + key, inputs + 2 * keys + head * heads.value_width, decay,
                                beta, heads.key_width, heads.value_width, state, result);
            } else {
                const float dt = law::softplus(gate[head] + dt_bias);
                law::state_space_step(inputs + values + keys + key, inputs + values + key,
                                      inputs + head * heads.value_width, decay, dt, call.vector3->data[head],
                                      heads.key_width, heads.value_width, state, result);
            }
            inspect(worker, 0, row, head * heads.value_width, result, heads.value_width);
        });
    });
    report_finding(call);
}

std::span<const CpuOps::Body> CpuOps::recurrence_bodies() {
    static constexpr auto kRecur = [](CpuOps& cpu, const VerbCall& call) { cpu.recur(call); };
    static constexpr Body kBodies[] = {
        {Verb::causal_convolution, [](CpuOps& cpu, const VerbCall& call) { cpu.convolve(call); }},
        {Verb::delta_rule, kRecur},
        {Verb::state_space, kRecur},
    };
    return kBodies;
}

}  // namespace invar
