// The verbs that change a recurrence of the sequence state: the causal convolution, the gated delta rule and Mamba 2.
// Channels, heads and columns of a state never meet, so threads take some of them, and some of the sequences of a
// batch; each walks a sequence's positions in order, so that a state sees them one after the other whatever the
// chunking (docs/arithmetic.md, section 8).
#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "cpu/cpu_ops.h"

namespace invar {
namespace {

constexpr int64_t kItemsOfThread = 2;  // that a thread should find, so that all finish together

// The rows of a batch by sequence: rows of one sequence are in rising position order, but those of another may lie
// between them.
struct SequenceRows {
    int64_t sequences = 0;
    int32_t* ids = nullptr;     // [sequences]
    int32_t* starts = nullptr;  // [sequences + 1]
    int32_t* rows = nullptr;    // those of sequence s are rows[starts[s]] ... rows[starts[s + 1] - 1]

    // Takes the same memory for every batch of a size, whatever its sequences.
    SequenceRows(Arena& arena, const Batch& batch)
        : ids(arena.take<int32_t>(batch.size())),
          starts(arena.take<int32_t>(batch.size() + 2)),
          rows(arena.take<int32_t>(batch.size())),
          sequence_of_row_(arena.take<int32_t>(batch.size())) {}

    void fill(const Batch& batch) {
        std::fill_n(starts, batch.size() + 2, 0);
        int64_t found = 0;
        for (int64_t row = 0; row < batch.size(); ++row) {
            const int32_t id = batch.rows[static_cast<size_t>(row)].sequence;
            // Most batches have the rows of a sequence together, or one of each sequence.
            if (found >= sequences || ids[found] != id) found = std::find(ids, ids + sequences, id) - ids;
            if (found == sequences) ids[sequences++] = id;
            sequence_of_row_[row] = static_cast<int32_t>(found);
            ++starts[found + 2];
        }
        for (int64_t s = 0; s < sequences; ++s) starts[s + 2] += starts[s + 1];
        for (int64_t row = 0; row < batch.size(); ++row)
            rows[starts[sequence_of_row_[row] + 1]++] = static_cast<int32_t>(row);
    }
    std::span<const int32_t> of(int64_t sequence) const {
        return {rows + starts[sequence], rows + starts[sequence + 1]};
    }

  private:
    int32_t* sequence_of_row_ = nullptr;
};

// The largest size of a part, halved from `most` and not below `least`, that gives every thread some items.
int64_t part_size(int64_t width, int64_t most, int64_t least, int64_t others, int threads) {
    int64_t size = most;
    while (size > least && (width + size - 1) / size * others < kItemsOfThread * threads)
        size = (size / 2 + 15) / 16 * 16;
    return size;
}

// One head of a recurrence: what its positions are computed from.
struct HeadCall {
    const VerbCall& call;
    int64_t head = 0;
    const RecurrenceHeads& heads = call.recurrence->heads;
    bool delta = call.verb == Verb::delta_rule;
    int64_t keys = int64_t{heads.key_heads} * heads.key_width;
    int64_t values = int64_t{heads.value_heads} * heads.value_width;

    // The steps of some rows, for the columns from `column` on.
    void fill(const RowKernels& kernels, std::span<const int32_t> rows, int64_t column, HeadStep* steps) const {
        const Tensor x = call.x, gates = call.x2;
        const auto count = static_cast<int64_t>(rows.size());
        float arguments[kStepsTogether], decays[kStepsTogether], factors[kStepsTogether];
        for (int64_t i = 0; i < count; ++i) arguments[i] = gates.host_row(rows[static_cast<size_t>(i)])[head];
        kernels.decays(call.vector->data[head], call.vector2->data[head], arguments, count, decays, factors);
        if (delta) {
            for (int64_t i = 0; i < count; ++i)
                arguments[i] = gates.host_row(rows[static_cast<size_t>(i)])[heads.value_heads + head];
            kernels.activate({.kind = Activation::sigmoid}, arguments, nullptr, count, factors);
        }
        const int64_t key = int64_t{heads.key_head_of(static_cast<int>(head))} * heads.key_width;
        const int64_t value = head * heads.value_width + column;
        for (int64_t i = 0; i < count; ++i) {
            const int64_t row = rows[static_cast<size_t>(i)];
            const float* inputs = x.host_row(row);
            steps[i] = {.query = inputs + (delta ? 0 : values + keys) + key,
                        .key = inputs + (delta ? keys : values) + key,
                        .value = inputs + (delta ? 2 * keys : 0) + value,
                        .decay = decays[i],
                        .factor = factors[i],
                        .out = call.out.host_row(row) + value};
        }
    }
};

}  // namespace

void CpuOps::convolve(const VerbCall& call) {
    const RecurrenceCall& spec = *call.recurrence;
    const Batch& batch = *call.batch;
    const Tensor x = call.x, out = call.out;
    const int64_t channels = x.width(), taps = spec.taps, history = taps - 1;
    const bool silu = spec.activation == Activation::silu;
    CHECK(x.rows() == batch.size() && out.rows() == batch.size() && out.width() == channels &&
              call.vector->size == channels * taps && taps >= 1 && taps <= kMostTaps &&
              (call.vector2 == nullptr || call.vector2->size == channels) && has_known_activation(spec),
          "a convolution has a row for each of the batch and its taps for each channel");
    record_use(call.verb, "", batch.size(), row_kernels_.name);
    const ArenaScope scope(arena_);
    SequenceRows grouped(arena_, batch);
    float* const all_weights = arena_.take<float>(taps * kChannelsTogether * pool_.threads());
    if (measuring()) return;
    grouped.fill(batch);
    const int64_t width = part_size(channels, kChannelsTogether, 64, grouped.sequences, pool_.threads());
    const int64_t parts = (channels + width - 1) / width;
    // Sequences of one item share the transposed taps.
    const int64_t wanted = (kItemsOfThread * pool_.threads() + parts - 1) / parts;
    const int64_t groups = std::clamp<int64_t>(wanted, 1, std::max<int64_t>(1, grouped.sequences));
    pool_.parallel_items(parts * groups, [&](int64_t item, int worker) {
        const int64_t first = item / groups * width, count = std::min(width, channels - first), group = item % groups;
        const float* const bias = call.vector2 == nullptr ? nullptr : call.vector2->data + first;
        float* const weights = all_weights + worker * taps * kChannelsTogether;
        row_kernels_.transpose_taps(call.vector->data + first * taps, static_cast<int>(taps), count, weights);
        for (int64_t s = grouped.sequences * group / groups; s < grouped.sequences * (group + 1) / groups; ++s) {
            const std::span<const int32_t> rows = grouped.of(s);
            const auto run = static_cast<int64_t>(rows.size());
            // [history][channels], the oldest first
            float* const columns =
                call.cache->recurrence(grouped.ids[s], spec.layer).data() + spec.heads.state_elements() + first;
            // Inputs of this sequence: the columns, then its rows.
            const auto input = [&](int64_t place) -> const float* {
                return place < history ? columns + place * channels
                                       : x.host_row(rows[static_cast<size_t>(place - history)]) + first;
            };
            for (int64_t i = 0; i < run; ++i) {
                const float* inputs[kMostTaps];
                for (int64_t k = 0; k < taps; ++k) inputs[k] = input(i + k);
                const int64_t row = rows[static_cast<size_t>(i)];
                float* const results = out.host_row(row) + first;
                row_kernels_.convolve(inputs, weights, static_cast<int>(taps), bias, silu, count, results);
                inspect(worker, 0, row, first, results, count);
            }
            for (int64_t k = 0; k < history; ++k)  // the source lies behind its place, or in x
                std::memcpy(columns + k * channels, input(k + run), static_cast<size_t>(count) * sizeof(float));
        }
    });
    report_finding(call);
}

void CpuOps::recur(const VerbCall& call) {
    const RecurrenceCall& spec = *call.recurrence;
    const RecurrenceHeads& heads = spec.heads;
    const Batch& batch = *call.batch;
    const bool delta = call.verb == Verb::delta_rule;
    const int64_t keys = int64_t{heads.key_heads} * heads.key_width;
    const int64_t values = int64_t{heads.value_heads} * heads.value_width;
    CHECK(call.x.rows() == batch.size() && call.x.width() == 2 * keys + values && call.x2.rows() == batch.size() &&
              call.x2.width() == heads.value_heads * (delta ? 2 : 1) && call.out.rows() == batch.size() &&
              call.out.width() == values,
          "a recurrence has queries, keys, values and gates for each row of the batch");
    CHECK(call.vector->size == heads.value_heads && call.vector2->size == heads.value_heads &&
              (delta || call.vector3->size == heads.value_heads),
          "the numbers of a recurrence belong to its value heads");
    record_use(call.verb, "", batch.size(), row_kernels_.name);
    const ArenaScope scope(arena_);
    SequenceRows grouped(arena_, batch);
    const int64_t worker_floats = int64_t{heads.key_width} * kColumnsTogether;
    float* const all_scratch = arena_.take<float>(worker_floats * pool_.threads());
    if (measuring()) return;
    grouped.fill(batch);
    const int64_t width = heads.value_width;
    const int64_t columns = part_size(width, width, 32, grouped.sequences * heads.value_heads, pool_.threads());
    const int64_t blocks = (width + columns - 1) / columns;
    pool_.parallel_items(grouped.sequences * heads.value_heads * blocks, [&](int64_t item, int worker) {
        const int64_t column = item % blocks * columns, head = item / blocks % heads.value_heads;
        const int64_t sequence = item / blocks / heads.value_heads;
        float* const state = call.cache->recurrence(grouped.ids[sequence], spec.layer).data();
        const HeadCall head_call{.call = call, .head = head};
        HeadStep steps[kStepsTogether];
        HeadColumns some{.steps = steps,
                         .key_width = heads.key_width,
                         .columns = static_cast<int>(std::min(columns, width - column)),
                         .stride = width,
                         .state = state + head * heads.key_width * width + column,
                         .skip = delta ? 0.0f : call.vector3->data[head],
                         .scratch = all_scratch + worker * worker_floats};
        std::span<const int32_t> rows = grouped.of(sequence);
        while (!rows.empty()) {
            const auto now = rows.first(std::min<size_t>(rows.size(), kStepsTogether));
            head_call.fill(row_kernels_, now, column, steps);
            some.count = static_cast<int>(now.size());
            (delta ? row_kernels_.delta_steps : row_kernels_.state_space_steps)(some);
            for (size_t i = 0; i < now.size(); ++i)
                inspect(worker, 0, now[i], head * width + column, steps[i].out, some.columns);
            rows = rows.subspan(now.size());
        }
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
