// Layers with recurrences, and layers that attend another layer's cache, on either side of a split: results and states
// are those of the CPU, observers see and change a state of the device, and a vector that is elsewhere is brought.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>

#include "device_engine.h"
#include "engine/split_ops.h"

namespace invar {
namespace {

using namespace test;

constexpr RecurrenceHeads kHeads{.key_heads = 2, .value_heads = 4, .key_width = 16, .value_width = 24};
constexpr int kTaps = 4, kLayers = 4, kQueryHeads = 4, kKeyHeads = 2, kHeadWidth = 16, kSequences = 2;
constexpr int64_t kKeys = 2 * 2 * 16, kValues = 4 * 24, kWidth = kKeys + kValues, kPositions = 70;

// A delta net, attention with sinks, attention of the cache of the layer before, and Mamba 2. There are no matrices: a
// vector of each layer brings the stream to the place of the layer.
class Hybrid {
  public:
    Hybrid() {
        std::mt19937 random(71);
        std::normal_distribution<float> normal;
        const auto make = [&](int64_t count) {
            std::vector<float> values(static_cast<size_t>(count));
            for (float& value : values) value = normal(random);
            return values;
        };
        inputs_ = make(kSequences * kPositions * kWidth);
        for (int layer = 0; layer < kLayers; ++layer) {
            std::vector<std::vector<float>>& numbers = numbers_.emplace_back();
            for (const int64_t count : {kWidth, kWidth * kTaps, kWidth, int64_t{4}, int64_t{4}, int64_t{4}, int64_t{4}})
                numbers.push_back(make(count));
            for (float& a : numbers[kA]) a = -std::abs(a);
        }
    }

    StateGeometry geometry(const std::vector<Place>& places) const {
        const KvGeometry attention{.kv_heads = kKeyHeads, .key_width = kHeadWidth, .value_width = kHeadWidth};
        const RecurrenceGeometry recurrence{.state_elements = kHeads.state_elements(),
                                            .column_elements = (kTaps - 1) * kWidth};
        return {.layers = {{}, attention, {}, {}},
                .recurrences = {recurrence, {}, {}, recurrence},
                .type = CacheType::f16,
                .places = places};
    }

    // Puts the vectors of each layer at its place.
    void load(Accelerator& device, const std::vector<Place>& places) {
        weights_.clear();
        for (size_t layer = 0; layer < kLayers; ++layer) {
            auto& vectors = weights_.emplace_back();
            for (const std::vector<float>& values : numbers_[layer]) {
                WeightVector& vector = vectors.emplace_back();
                vector = {.id = {static_cast<int>(layer), "vector"}, .data = values.data(), .size = std::ssize(values)};
                if (places[layer] == Place::host) continue;
                const auto bytes = static_cast<int64_t>(values.size() * 4);
                memory_.push_back(device.allocate(bytes, "a vector").value());
                CHECK(device.upload(memory_.back().get(), values.data(), bytes).has_value(), "copied");
                vector.data = reinterpret_cast<const float*>(memory_.back().get());
                vector.place = Place::device;
            }
        }
    }

    Tensor forward(Ops& ops, const Batch& batch, SequenceState& cache) {
        const int64_t rows = batch.size();
        const Tensor x = ops.scratch(rows, kWidth), mixed = ops.scratch(rows, kWidth);
        const Tensor values = ops.scratch(rows, kValues), attended = ops.scratch(rows, kQueryHeads * kHeadWidth);
        given_.clear();
        for (const BatchRow& row : batch.rows) {
            const auto from = inputs_.begin() + (row.sequence * kPositions + row.position) * kWidth;
            given_.insert(given_.end(), from, from + kWidth);
        }
        ops.copy({-1, "input"}, {given_.data(), Place::host, rows, kWidth, kWidth}, x);
        for (int layer = 0; layer < kLayers; ++layer) {
            const std::vector<WeightVector>& of = weights_[static_cast<size_t>(layer)];
            ops.multiply({layer, "brought"}, x, of[kStream]);
            if (layer == 1 || layer == 2) {
                attend(ops, batch, cache, layer, x, attended);
                ops.add({layer, "sum"}, x.columns(8, attended.width()), attended);
            } else {
                recur(ops, batch, cache, layer, x, mixed, values);
                ops.add({layer, "sum"}, x.columns(0, kValues), values);
            }
            ops.rms_norm_groups({layer, "normed"}, x, nullptr, kWidth, 1e-6f, x);
        }
        return x;
    }

  private:
    enum Number : uint8_t { kStream, kConvolution, kBias, kA, kStep, kD, kSinks };

    void attend(Ops& ops, const Batch& batch, SequenceState& cache, int layer, Tensor x, Tensor attended) {
        if (layer == 1) {
            ops.store_kv({layer, "stored"}, layer, batch, x.columns(64, kKeyHeads * kHeadWidth),
                         x.columns(96, kKeyHeads * kHeadWidth), cache);
        }
        ops.attention({layer, "attention"}, {.layer = 1, .heads = kQueryHeads, .scale = 0.25f}, batch,
                      x.columns(0, kQueryHeads * kHeadWidth), cache, attended,
                      layer == 1 ? &weights_[1][kSinks] : nullptr);
    }
    void recur(Ops& ops, const Batch& batch, SequenceState& cache, int layer, Tensor x, Tensor mixed, Tensor values) {
        const std::vector<WeightVector>& of = weights_[static_cast<size_t>(layer)];
        const RecurrenceCall call{.layer = layer, .taps = kTaps, .heads = kHeads};
        ops.causal_convolution({layer, "convolution"}, call, batch, x, of[kConvolution], &of[kBias], cache, mixed);
        if (layer == 0) {
            ops.l2_norm({layer, "unit"}, mixed.columns(0, kKeys), 16, 1e-6f, mixed.columns(0, kKeys));
            ops.delta_rule({layer, "delta"}, call, batch, mixed, x.columns(0, 8), of[kA], of[kStep], cache, values);
        } else {
            ops.state_space({layer, "space"}, call, batch, mixed, x.columns(0, 4), of[kA], of[kStep], of[kD], cache,
                            values);
        }
    }

    std::vector<float> inputs_, given_;
    std::vector<std::vector<std::vector<float>>> numbers_;  // by layer and Number
    std::vector<std::vector<WeightVector>> weights_;
    std::vector<DeviceMemory> memory_;
};

// The CPU alone, or both machines with layers at these places.
struct Machine {
    std::shared_ptr<Accelerator> device = emulated();
    std::unique_ptr<ThreadPool> pool = std::move(ThreadPool::create({.threads = 2}).value());
    std::unique_ptr<CpuOps> host;
    std::unique_ptr<AcceleratorOps> there;
    WeightPlan plan;
    SourceWeights source{plan};
    std::unique_ptr<SplitOps> split;
    std::unique_ptr<SequenceState> cache;
    Hybrid model;

    explicit Machine(std::vector<Place> places) {
        host = std::move(CpuOps::create({.pool = *pool, .scratch_bytes = int64_t{8} << 20}).value());
        there = std::move(device
                              ->make_ops({.scratch_bytes = int64_t{8} << 20,
                                          .rows = 160,
                                          .sequences = kSequences,
                                          .positions = 128,
                                          .page_tables = 2})
                              .value());
        split = std::make_unique<SplitOps>(
            SplitOpsSettings{.host = *host, .device = *there, .accelerator = *device, .source = source});
        const StateGeometry geometry = model.geometry(places);
        const StateLayout layout = lay_out_state(geometry).value();
        const std::vector<int64_t> units(layout.groups.size(), 6);
        DevicePart part;
        if (const int64_t bytes = state_bytes(layout.groups, units, Place::device); bytes > 0)
            part.memory = device->allocate(bytes, "the state").value();
        part.upload = [on = device.get()](std::byte* to, const void* from, int64_t bytes) {
            return on->upload(to, from, bytes);
        };
        part.download = [on = device.get()](void* to, const std::byte* from, int64_t bytes) {
            return on->download(to, from, bytes);
        };
        cache = std::move(
            SequenceState::create({.geometry = geometry, .units = units, .digest = {}, .device = std::move(part)})
                .value());
        model.load(*device, places);
        for (int i = 0; i < kSequences; ++i) cache->add_sequence();
    }

    std::vector<float> pass(const Batch& batch) {
        for (const BatchRow& row : batch.rows)
            CHECK(cache->reserve(row.sequence, row.position + 1).has_value(), "room");
        split->begin_pass();
        const Tensor x = model.forward(*split, batch, *cache);
        split->to_host(x);
        EXPECT_TRUE(split->finish().has_value());
        EXPECT_FALSE(split->failure().has_value());
        for (const BatchRow& row : batch.rows) cache->advance(row.sequence, 1);
        return {x.host(), x.host() + x.rows() * x.width()};
    }
    std::vector<float> state(int32_t sequence, int layer, const Batch& batch) {
        split->to_host(*cache, layer, batch);
        const std::span<const float> values = cache->recurrence(sequence, layer);
        return {values.begin(), values.end()};
    }
};

std::vector<Batch> batches_of(int64_t chunk) {
    std::vector<Batch> batches;
    for (int64_t first = 0; first < kPositions; first += chunk) {
        Batch& batch = batches.emplace_back();
        for (int32_t sequence = 0; sequence < kSequences; ++sequence) {
            for (int64_t position = first; position < std::min(first + chunk, kPositions); ++position)
                batch.rows.push_back({.token = 0, .sequence = sequence, .position = position});
        }
    }
    return batches;
}

const std::vector<Place> kOnHost(kLayers, Place::host);

TEST(SplitOps, RecurrencesAndSharedCachesGiveTheBitsOfTheCpuAtEveryPlace) {
    int64_t compared = 0, states = 0;
    for (int places = 0; places < 1 << kLayers; ++places) {
        std::vector<Place> of_layers;
        for (int layer = 0; layer < kLayers; ++layer)
            of_layers.push_back((places >> layer & 1) != 0 ? Place::device : Place::host);
        for (const int64_t chunk : {int64_t{7}, kPositions}) {
            Machine cpu(kOnHost), split(of_layers);
            const std::vector<Batch> batches = batches_of(chunk);
            for (const Batch& batch : batches) {
                const std::vector<float> expected = cpu.pass(batch);
                EXPECT_EQ(differing(split.pass(batch), expected), 0) << "places " << places;
                compared += std::ssize(expected);
            }
            for (const int layer : {0, 3}) {
                for (int32_t sequence = 0; sequence < kSequences; ++sequence) {
                    const std::vector<float> expected = cpu.state(sequence, layer, batches.back());
                    EXPECT_EQ(differing(split.state(sequence, layer, batches.back()), expected), 0) << places;
                    states += std::ssize(expected);
                }
            }
        }
    }
    std::printf("[split] %ld results and %ld numbers of states of 16 placements equal\n", compared, states);
    EXPECT_GT(compared, 500'000);
}

TEST(SplitOps, TokensOneByOneGiveTheBitsOfAWholePrompt) {
    const Batch whole = batches_of(kPositions).front();
    Machine prompt(kOnHost), split({Place::device, Place::host, Place::device, Place::device});
    const std::vector<float> expected = prompt.pass(whole);
    std::vector<float> actual(expected.size());
    for (const Batch& batch : batches_of(1)) {
        const std::vector<float> made = split.pass(batch);
        for (int64_t row = 0; row < batch.size(); ++row) {
            const BatchRow& place = batch.rows[static_cast<size_t>(row)];
            std::copy_n(made.begin() + row * kWidth, kWidth,
                        actual.begin() + (place.sequence * kPositions + place.position) * kWidth);
        }
    }
    EXPECT_EQ(differing(actual, expected), 0);
}

TEST(SplitOps, AnObserverChangesTheStateOfADevicesRecurrence) {
    const std::vector<Batch> batches = batches_of(7);
    Machine cpu(kOnHost), split(std::vector<Place>(kLayers, Place::device)), untouched(kOnHost);
    for (Machine* machine : {&cpu, &split, &untouched}) machine->pass(batches[0]);
    for (Machine* machine : {&cpu, &split}) {
        machine->split->to_host(*machine->cache, 3, batches[0]);
        machine->cache->recurrence(1, 3)[17] = 0.75f;
        machine->split->from_host(*machine->cache, 3, batches[0]);
    }
    const std::vector<float> expected = cpu.pass(batches[1]);
    EXPECT_EQ(differing(split.pass(batches[1]), expected), 0);
    EXPECT_GT(differing(untouched.pass(batches[1]), expected), 0);
}

// A verb placed by its data, with a vector that an observer has replaced by one of the host.
TEST(SplitOps, AVectorOfTheHostIsBroughtToAVerbOfTheDevice) {
    Machine machine(std::vector<Place>(kLayers, Place::device));
    const std::vector<float> logits = {0.5f, 0.25f, 2.0f, -1.0f}, bias = {0.0f, 9.0f, 0.0f, 8.0f};
    const std::vector<float> ones(4, 1.0f);
    const auto memory = machine.device->allocate(16, "ones").value();
    ASSERT_TRUE(machine.device->upload(memory.get(), ones.data(), 16).has_value());
    const WeightVector there{
        .id = {}, .data = reinterpret_cast<const float*>(memory.get()), .size = 4, .place = Place::device};
    const WeightVector here{.id = {}, .data = bias.data(), .size = 4};
    SplitOps& ops = *machine.split;
    ops.begin_pass();
    const Tensor x = ops.scratch(1, 4);
    std::vector<float> given = logits;
    ops.copy({-1, "given"}, {given.data(), Place::host, 1, 4, 4}, x);
    ops.multiply({-1, "brought"}, x, there);
    const ExpertSlots slots = ops.scratch_slots(1, 2);
    ops.route({0, "routing"}, {.experts_per_row = 2}, x, slots, &here);
    EXPECT_EQ(ops.last_place(), Place::device);
    ops.to_host(slots);
    ASSERT_TRUE(ops.finish().has_value());
    EXPECT_EQ(slots.experts[0], 1);
    EXPECT_EQ(slots.experts[1], 3);
}

}  // namespace
}  // namespace invar
