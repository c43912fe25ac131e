// Recorded passes against plain ones, with ==: random steps of several sequences, prompts and single tokens mixed,
// pages and slots out of order, past the doublings at which shapes change. A recording that keeps anything of the pass
// it was made in (a position, a page, a token) is shown to be seen.
#include "cuda/pass_graphs.h"

#include <gtest/gtest.h>

#include "cpu/small_model.h"
#include "device_ops.h"

namespace invar {
namespace {

// A delta net behind the small model, whose layer of the state follows those of the model.
constexpr RecurrenceHeads kDeltaHeads{.key_heads = 2, .value_heads = 2, .key_width = 32, .value_width = 64};
constexpr int kDeltaLayer = 2, kDeltaTaps = 4;
constexpr int64_t kDeltaKeys = 2 * 2 * 32, kDeltaValues = 2 * 64;
static_assert(kDeltaKeys + kDeltaValues == kWidth);

StateGeometry geometry() {
    StateGeometry geometry{.layers = SmallModel::geometry(), .recurrences = {}, .type = CacheType::f16, .places = {}};
    geometry.layers.push_back({});
    geometry.recurrences.resize(kDeltaLayer);
    geometry.recurrences.push_back(
        {.state_elements = kDeltaHeads.state_elements(), .column_elements = (kDeltaTaps - 1) * kWidth});
    return geometry;
}

// A device with a cache for the models and three sequences.
struct Machine {
    DeviceBackend backend = DeviceBackend::make();
    std::unique_ptr<SequenceState> cache = backend.make_state(geometry(), 12);
    PassGraphs graphs{*backend.cuda};

    Machine() {
        for (int i = 0; i < 3; ++i) cache->add_sequence();
    }
};

using Forward = std::function<Tensor(Ops& ops, const Batch& batch, SequenceState& cache)>;

// The states of the rows whose logits are wanted.
Tensor wanted_rows(const SmallModel& model, Ops& ops, const Batch& batch, SequenceState& cache) {
    const Tensor all = model.forward(ops, batch, cache);
    const Tensor wanted = ops.scratch(static_cast<int64_t>(batch.logits_rows.size()), kWidth);
    ops.gather_rows({-1, "wanted"}, all, batch.logits_rows, wanted);
    return wanted;
}

// Step `step` of a fixed schedule that depends on nothing but the seed; done: positions of each sequence.
Batch next_batch(std::mt19937& random, std::vector<int64_t>& done) {
    Batch batch;
    const auto add = [&](int32_t sequence, int rows) {
        for (int i = 0; i < rows; ++i)
            batch.rows.push_back({.token = static_cast<int32_t>(random() % kVocabulary),
                                  .sequence = sequence,
                                  .position = done[static_cast<size_t>(sequence)]++});
        batch.logits_rows.push_back(static_cast<int32_t>(batch.rows.size()) - 1);
    };
    const int kind = static_cast<int>(random() % 8);
    const auto one = static_cast<int32_t>(random() % 3);
    if (kind < 4) add(one, 1);
    if (kind == 4 || kind == 5) add(0, 1), add(2, 1);
    if (kind == 6) add(one, 9);
    if (kind == 7) add(1, 1), add(2, 5);
    return batch;
}

struct Outcome {
    Comparison comparison;
    PassGraphs::Counts counts;
    int64_t steps = 0, failures = 0;
};

// Of layer 0 and head 0, in the device's memory.
std::byte* values_of_page(const SequenceState& cache, int32_t page) {
    const StateMemory::Pool& pool = cache.pool(0);
    return pool.memory.get() + page * pool.unit_bytes + cache.layer_place(0).values;
}

// Runs the same steps plainly and through graphs; a cache page of sequence 1 is poisoned before the last steps.
Outcome compare_steps(uint32_t seed, int steps, const Forward& forward) {
    Outcome run;
    Machine plain, graphed;
    std::mt19937 random(seed);
    std::vector<int64_t> done(3, 0);
    for (int step = 0; step < steps; ++step) {
        const Batch batch = next_batch(random, done);
        for (Machine* machine : {&plain, &graphed})
            for (const BatchRow& row : batch.rows)
                CHECK(machine->cache->reserve(row.sequence, row.position + 1).has_value(), "there are pages enough");
        if (step == steps - 4) {
            const float nan = std::numeric_limits<float>::quiet_NaN();
            for (Machine* machine : {&plain, &graphed})
                if (!machine->cache->pages_of(1, 0).empty())
                    CHECK(machine->backend.device
                              ->upload(values_of_page(*machine->cache, machine->cache->pages_of(1, 0)[0]),
                                       std::vector<float>(64, nan).data(), 256)
                              .has_value(),
                          "copied");
        }
        plain.backend.ops->begin_pass();
        const std::vector<float> expected = plain.backend.read(forward(*plain.backend.ops, batch, *plain.cache));
        const auto result = graphed.graphs.run(&forward, batch, *graphed.cache,
                                               [&] { return forward(*graphed.backend.ops, batch, *graphed.cache); });
        if (!result) {
            ADD_FAILURE() << result.error().message;
            break;
        }
        const std::vector<float> actual = graphed.backend.read(*result);
        run.comparison.add(expected.data(), actual.data(), static_cast<int64_t>(expected.size()));
        const auto failure = plain.backend.ops->failure();
        EXPECT_TRUE(same_failure(failure, graphed.backend.ops->failure())) << "step " << step;
        run.failures += failure ? 1 : 0;
        ++run.steps;
    }
    run.counts = graphed.graphs.counts();
    return run;
}

TEST(CudaPassGraphs, EqualPlainPassesOnRandomStates) {
    const SmallModel model(62);
    const Forward forward = [&](Ops& ops, const Batch& batch, SequenceState& cache) {
        return wanted_rows(model, ops, batch, cache);
    };
    int64_t replayed = 0, failures = 0, compared = 0;
    for (const uint32_t seed : {5u, 6u}) {
        const Outcome run = compare_steps(seed, 45, forward);
        EXPECT_EQ(run.comparison.differ(), 0);
        EXPECT_EQ(run.counts.refused, 0);
        EXPECT_EQ(run.counts.plain + run.counts.recorded + run.counts.replayed, run.steps);
        std::printf("[graphs] %lld steps: %lld plain, %lld recorded, %lld replayed; %lld with a number not finite\n",
                    static_cast<long long>(run.steps), static_cast<long long>(run.counts.plain),
                    static_cast<long long>(run.counts.recorded), static_cast<long long>(run.counts.replayed),
                    static_cast<long long>(run.failures));
        run.comparison.print("CUDA recorded passes");
        replayed += run.counts.replayed;
        failures += run.failures;
        compared += run.comparison.compared();
    }
    EXPECT_GT(replayed, 30);
    EXPECT_GT(failures, 0);
    EXPECT_GT(compared, 20'000);
}

// The slots of recurrences and the positions of a scale change from pass to pass like pages.
TEST(CudaPassGraphs, EqualPlainPassesWithRecurrencesAndScalesByPosition) {
    const SmallModel model(65);
    std::mt19937 random(66);
    const std::vector<float> convolution = make_inputs(random, kWidth * kDeltaTaps), numbers = {-0.3f, -0.05f},
                             dt_bias = {0.1f, -0.2f};
    const auto vector = [](const std::vector<float>& values) {
        return WeightVector{.id = {}, .data = values.data(), .size = std::ssize(values)};
    };
    const WeightVector taps = vector(convolution), a = vector(numbers), bias = vector(dt_bias);
    const Outcome run = compare_steps(9, 45, [&](Ops& ops, const Batch& batch, SequenceState& cache) {
        const Tensor all = model.forward(ops, batch, cache), mixed = ops.scratch(batch.size(), kWidth);
        const Tensor values = ops.scratch(batch.size(), kDeltaValues);
        const RecurrenceCall call{.layer = kDeltaLayer, .taps = kDeltaTaps, .heads = kDeltaHeads};
        ops.causal_convolution({2, "convolution"}, call, batch, all, taps, nullptr, cache, mixed);
        ops.l2_norm({2, "unit"}, mixed.columns(0, kDeltaKeys), 32, 1e-6f, mixed.columns(0, kDeltaKeys));
        ops.delta_rule({2, "delta"}, call, batch, mixed, all.columns(0, 4), a, bias, cache, values);
        ops.scale_by_position({2, "scaled"}, {.beta = 0.5, .length = 3}, batch, values);
        ops.add({2, "sum"}, all.columns(0, kDeltaValues), values);
        const Tensor wanted = ops.scratch(std::ssize(batch.logits_rows), kWidth);
        ops.gather_rows({-1, "wanted"}, all, batch.logits_rows, wanted);
        return wanted;
    });
    run.comparison.print("CUDA recorded passes with a recurrence");
    EXPECT_EQ(run.comparison.differ(), 0);
    EXPECT_EQ(run.counts.refused, 0);
    EXPECT_GT(run.counts.replayed, 12);
}

// Launch arguments that depend on the position, the token, the sequence: each must show.
TEST(CudaPassGraphs, AnArgumentThatKeepsThePassItWasRecordedInIsSeen) {
    const SmallModel model(63);
    const std::vector<float> weight(kWidth, 1.0f);
    const WeightVector ones{.id = {}, .data = weight.data(), .size = kWidth};
    int seen = 0;
    for (const int what : {0, 1, 2}) {
        const Forward forward = [&](Ops& ops, const Batch& batch, SequenceState& cache) {
            const Tensor states = wanted_rows(model, ops, batch, cache);
            const BatchRow& last = batch.rows.back();
            const auto number = static_cast<float>(what == 0 ? last.position : what == 1 ? last.token : last.sequence);
            ops.rms_norm({-1, "baked"}, states, ones, 1.0f + number, states);
            return states;
        };
        const Outcome run = compare_steps(7, 16, forward);
        EXPECT_GT(run.counts.replayed, 0);
        seen += run.comparison.differ() > 0 ? 1 : 0;
    }
    EXPECT_EQ(seen, 3);
}

// A pass that copies from the host in its middle runs plainly, and stays right.
TEST(CudaPassGraphs, APassThatCannotBeRecordedRunsPlainly) {
    const SmallModel model(64);
    const std::vector<int32_t> first_row = {0};
    const Outcome run = compare_steps(8, 12, [&](Ops& ops, const Batch& batch, SequenceState& cache) {
        const Tensor states = wanted_rows(model, ops, batch, cache);
        const Tensor first = ops.scratch(1, kWidth);
        ops.gather_rows({-1, "first"}, states, first_row, first);
        std::vector<int32_t> reversed;
        for (int64_t i = states.rows(); i > 0; --i) reversed.push_back(static_cast<int32_t>(i - 1));
        reversed.push_back(0);
        const Tensor more = ops.scratch(states.rows() + 1, kWidth);
        ops.gather_rows({-1, "reversed"}, states, reversed, more);
        return more;
    });
    EXPECT_EQ(run.comparison.differ(), 0);
    EXPECT_GT(run.counts.refused, 0);
    EXPECT_EQ(run.counts.replayed + run.counts.recorded + run.counts.plain, run.steps);
}

}  // namespace
}  // namespace invar
