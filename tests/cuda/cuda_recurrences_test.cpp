// The convolution, the gated delta rule and Mamba 2 on the emulated device against the plain reference, with ==:
// results and the states that stay on the device, prompts at once, in chunks of 7 and token by token, several sequences
// whose rows may alternate, and a state that is forked.
#include <gtest/gtest.h>

#include "verb_comparison.h"

namespace invar {
namespace {

struct Shape {
    RecurrenceHeads heads;
    int taps;
};

// Two layers of recurrences with their numbers, and inputs for every position of three sequences.
class Recurrences {
  public:
    static constexpr int kSequences = 3;
    static constexpr int64_t kPositions = 23;

    Recurrences(const Shape& shape, bool delta, uint32_t seed) : shape_(shape), delta_(delta), random_(seed) {
        const RecurrenceHeads& heads = shape.heads;
        keys_ = int64_t{heads.key_heads} * heads.key_width;
        values_ = int64_t{heads.value_heads} * heads.value_width;
        channels_ = 2 * keys_ + values_;
        gates_ = heads.value_heads * (delta ? 2 : 1);
        convolution_ = make_inputs(random_, channels_ * shape.taps);
        bias_ = make_inputs(random_, channels_);
        for (std::vector<float>* numbers : {&a_, &dt_bias_, &d_}) *numbers = make_inputs(random_, heads.value_heads);
        for (float& a : a_) a = -std::abs(a);
        inputs_ = make_inputs(random_, kSequences * kPositions * channels_);
        for (float& x : inputs_) x *= 0.2f;  // states stay finite
        steps_ = make_inputs(random_, kSequences * kPositions * gates_);
    }

    StateGeometry geometry() const {
        const RecurrenceGeometry layer{.state_elements = shape_.heads.state_elements(),
                                       .column_elements = (shape_.taps - 1) * channels_};
        return {
            .layers = std::vector<KvGeometry>(2), .recurrences = {layer, layer}, .type = CacheType::f16, .places = {}};
    }
    // The results of both layers for the rows of a batch.
    Tensor run(Ops& ops, const MakeTensor& make, const Batch& batch, SequenceState& cache) const {
        const int64_t rows = batch.size();
        std::vector<float> x, gates;
        for (const BatchRow& row : batch.rows) {
            const int64_t at = row.sequence * kPositions + row.position;
            x.insert(x.end(), inputs_.begin() + at * channels_, inputs_.begin() + (at + 1) * channels_);
            gates.insert(gates.end(), steps_.begin() + at * gates_, steps_.begin() + (at + 1) * gates_);
        }
        const Tensor out = ops.scratch(rows, 2 * values_);
        const WeightVector weight = vector_of(convolution_), bias = vector_of(bias_), a = vector_of(a_),
                           dt_bias = vector_of(dt_bias_), d = vector_of(d_);
        for (int layer = 0; layer < 2; ++layer) {
            const RecurrenceCall call{.layer = layer,
                                      .taps = shape_.taps,
                                      .heads = shape_.heads,
                                      .activation = layer == 0 ? Activation::silu : Activation::identity};
            const Tensor mixed = ops.scratch(rows, channels_), attended = ops.scratch(rows, values_);
            const Tensor of_gates = make(rows, gates_, gates);
            ops.causal_convolution({layer, "convolution"}, call, batch, make(rows, channels_, x), weight,
                                   layer == 0 ? &bias : nullptr, cache, mixed);
            if (delta_) {
                ops.delta_rule({layer, "delta"}, call, batch, mixed, of_gates, a, dt_bias, cache, attended);
            } else {
                ops.state_space({layer, "space"}, call, batch, mixed, of_gates, a, dt_bias, d, cache, attended);
            }
            ops.copy({layer, "kept"}, attended, out.columns(layer * values_, values_));
        }
        return out;
    }

  private:
    Shape shape_;
    bool delta_;
    std::mt19937 random_;
    int64_t keys_ = 0, values_ = 0, channels_ = 0, gates_ = 0;
    std::vector<float> convolution_, bias_, a_, dt_bias_, d_, inputs_, steps_;
};

// The batches that walk all positions of all sequences, so many of each at a time. Rows of sequences stand one after
// the other, or alternate.
std::vector<Batch> batches_of(int64_t chunk, bool alternating) {
    std::vector<Batch> batches;
    for (int64_t first = 0; first < Recurrences::kPositions; first += chunk) {
        const int64_t count = std::min(chunk, Recurrences::kPositions - first);
        Batch& batch = batches.emplace_back();
        for (int64_t i = 0; i < count * Recurrences::kSequences; ++i) {
            const int64_t sequence = alternating ? i % Recurrences::kSequences : i / count;
            const int64_t position = first + (alternating ? i / Recurrences::kSequences : i % count);
            batch.rows.push_back({.token = 0, .sequence = static_cast<int32_t>(sequence), .position = position});
        }
    }
    return batches;
}

void reserve(SequenceState& cache, const Batch& batch) {
    for (const BatchRow& row : batch.rows) CHECK(cache.reserve(row.sequence, row.position + 1).has_value(), "room");
}
void advance(SequenceState& cache, const Batch& batch) {
    for (const BatchRow& row : batch.rows) cache.advance(row.sequence, 1);
}

const Shape kShapes[] = {
    {{.key_heads = 2, .value_heads = 4, .key_width = 16, .value_width = 40}, 4},
    {{.key_heads = 2, .value_heads = 4, .key_width = 24, .value_width = 33, .interleaved = true}, 3},
    {{.key_heads = 1, .value_heads = 3, .key_width = 5, .value_width = 1}, 1},
    {{.key_heads = 1, .value_heads = 1, .key_width = 256, .value_width = 40}, 16},
    {{.key_heads = 1, .value_heads = 2, .key_width = 128, .value_width = 128}, 4},
};

TEST(CudaRecurrences, EqualTheReferenceInEveryChunkingAndOrderOfRows) {
    Comparison comparison;
    int64_t runs = 0;
    for (const bool delta : {true, false}) {
        for (size_t i = 0; i < std::size(kShapes); ++i) {
            const Recurrences model(kShapes[i], delta, static_cast<uint32_t>(40 + i));
            for (const int64_t chunk : {int64_t{1}, int64_t{7}, Recurrences::kPositions}) {
                if (i >= 3 && chunk != 7) continue;  // large states
                for (const bool alternating : {false, true}) {
                    if (i >= 3 && alternating) continue;
                    const DeviceBackend backend = DeviceBackend::make(0);
                    const auto device = backend.make_state(model.geometry(), 4);
                    auto host = SequenceState::create({.geometry = model.geometry(), .units = {4}, .digest = {}});
                    ASSERT_TRUE(host.has_value());
                    for (SequenceState* cache : {device.get(), host->get()})
                        for (int s = 0; s < Recurrences::kSequences; ++s) cache->add_sequence();
                    for (const Batch& batch : batches_of(chunk, alternating)) {
                        for (SequenceState* cache : {device.get(), host->get()}) reserve(*cache, batch);
                        compare_verb(
                            backend,
                            [&](Ops& ops, const MakeTensor& make) {
                                return model.run(ops, make, batch, &ops == backend.ops.get() ? *device : **host);
                            },
                            comparison, "shape " + std::to_string(i) + ", chunks of " + std::to_string(chunk));
                        for (SequenceState* cache : {device.get(), host->get()}) advance(*cache, batch);
                    }
                    const int64_t differed = comparison.differ();
                    for (int32_t s = 0; s < Recurrences::kSequences; ++s) {
                        for (int layer = 0; layer < 2; ++layer) {
                            const std::span<const float> expected = (*host)->recurrence(s, layer);
                            const std::vector<float> actual = backend.recurrence(*device, s, layer);
                            comparison.add(expected.data(), actual.data(), std::ssize(actual));
                        }
                    }
                    EXPECT_EQ(comparison.differ(), differed) << "states of shape " << i;
                    ++runs;
                }
            }
        }
    }
    comparison.print(std::to_string(runs) + " runs of recurrences on the emulated device, results and states");
    EXPECT_GT(comparison.compared(), 500'000);
}

// Two sequences share a slot until one of them is written; the copy is made on the device.
TEST(CudaRecurrences, AForkedStateGoesOnByItselfOnTheDevice) {
    const Recurrences model(kShapes[0], true, 50);
    const DeviceBackend backend = DeviceBackend::make(0);
    const auto device = backend.make_state(model.geometry(), 4);
    auto host = SequenceState::create({.geometry = model.geometry(), .units = {4}, .digest = {}});
    ASSERT_TRUE(host.has_value());
    Comparison comparison;
    const auto pass = [&](const Batch& batch) {
        for (SequenceState* cache : {device.get(), host->get()}) reserve(*cache, batch);
        compare_verb(
            backend,
            [&](Ops& ops, const MakeTensor& make) {
                return model.run(ops, make, batch, &ops == backend.ops.get() ? *device : **host);
            },
            comparison, "a pass of " + std::to_string(batch.size()));
        for (SequenceState* cache : {device.get(), host->get()}) advance(*cache, batch);
    };
    for (SequenceState* cache : {device.get(), host->get()}) cache->add_sequence();
    pass(rows_of(0, 0, 9));
    for (SequenceState* cache : {device.get(), host->get()}) EXPECT_EQ(cache->fork(0), 1);
    const std::vector<float> before = backend.recurrence(*device, 0, 1);
    pass(rows_of(1, 9, 6));
    EXPECT_EQ(backend.recurrence(*device, 0, 1), before);
    EXPECT_NE(backend.recurrence(*device, 1, 1), before);
    pass(rows_of(0, 9, 1));
    for (SequenceState* cache : {device.get(), host->get()}) {  // a slot that is used again starts at zero
        cache->remove_sequence(1);
        EXPECT_EQ(cache->add_sequence(), 1);
    }
    pass(rows_of(1, 0, 3));
    comparison.print("CUDA recurrences of forked sequences");
    EXPECT_GT(comparison.compared(), 5'000);
}

TEST(CudaRecurrences, AFormThatTheKernelsLackIsAnErrorOfThePlanningPass) {
    auto device = Device::open(0);
    ASSERT_TRUE(device.has_value());
    auto ops = CudaOps::create({.device = **device, .measuring = true});
    ASSERT_TRUE(ops.has_value());
    const RecurrenceHeads heads{.key_heads = 1, .value_heads = 1, .key_width = 257, .value_width = 2};
    const auto cache = SequenceState::without_memory(
        {.layers = std::vector<KvGeometry>(1),
         .recurrences = {{.state_elements = heads.state_elements(), .column_elements = 0}},
         .type = CacheType::f16,
         .places = {Place::device}});
    cache->add_sequence();
    const Batch batch = rows_of(0, 0, 1);
    const WeightVector one{.id = {0, "a"}, .data = nullptr, .size = 1, .place = Place::device};
    (*ops)->delta_rule({0, "delta_rule"}, {.layer = 0, .taps = 4, .heads = heads}, batch, (*ops)->scratch(1, 516),
                       (*ops)->scratch(1, 2), one, one, *cache, (*ops)->scratch(1, 2));
    const Result<void> result = (*ops)->finish();
    ASSERT_FALSE(result.has_value());
    EXPECT_NE(result.error().message.find("the CUDA device has no kernel for delta_rule of layer 0 delta_rule"),
              std::string::npos)
        << result.error().message;
}

}  // namespace
}  // namespace invar
