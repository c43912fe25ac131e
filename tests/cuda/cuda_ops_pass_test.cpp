// Whole passes of a small model on the emulated device against the plain reference: dense and mixture-of-experts
// layers, a prompt at once, in chunks and token by token, alone and in a mixed batch; hidden states and the bytes of
// the cache.
#include <gtest/gtest.h>

#include "cpu/small_model.h"
#include "device_ops.h"

namespace invar {
namespace {

// Hidden states [sequence][position][kWidth] and the cache's bytes of each sequence.
struct States {
    std::vector<std::vector<float>> hidden;
    std::vector<std::vector<std::byte>> stored;
};

using ReadTensor = std::function<std::vector<float>(Tensor)>;
using ReadPage = std::function<std::vector<std::byte>(const SequenceState&, int layer, int32_t page, int64_t bytes)>;

States run_passes(const SmallModel& model, Ops& ops, SequenceState& cache, const Prompts& prompts, int64_t chunk,
                  const ReadTensor& read, const ReadPage& read_page) {
    States states;
    std::vector<int64_t> done(prompts.tokens.size(), 0);
    for (const auto& tokens : prompts.tokens) {
        states.hidden.emplace_back(tokens.size() * kWidth);
        cache.add_sequence();
    }
    while (true) {
        Batch batch;
        for (size_t s = 0; s < prompts.tokens.size(); ++s) {
            const int64_t count = std::min(chunk, static_cast<int64_t>(prompts.tokens[s].size()) - done[s]);
            CHECK(cache.reserve(static_cast<int32_t>(s), done[s] + count).has_value(), "room");
            for (int64_t i = 0; i < count; ++i, ++done[s])
                batch.rows.push_back({.token = prompts.tokens[s][static_cast<size_t>(done[s])],
                                      .sequence = static_cast<int32_t>(s),
                                      .position = done[s]});
        }
        if (batch.rows.empty()) break;
        ops.begin_pass();
        const std::vector<float> hidden = read(model.forward(ops, batch, cache));
        EXPECT_FALSE(ops.failure().has_value());
        for (int64_t row = 0; row < batch.size(); ++row) {
            const BatchRow& place = batch.rows[static_cast<size_t>(row)];
            std::copy_n(hidden.data() + row * kWidth, kWidth,
                        states.hidden[static_cast<size_t>(place.sequence)].data() + place.position * kWidth);
        }
    }
    // Positions beyond a sequence's end are nobody's: only whole pages are compared.
    for (size_t s = 0; s < prompts.tokens.size(); ++s) {
        auto& stored = states.stored.emplace_back();
        for (int layer = 0; layer < std::ssize(cache.layers()); ++layer) {
            const auto pages = cache.pages_of(static_cast<int32_t>(s), layer);
            for (size_t i = 0; i < prompts.tokens[s].size() / kPagePositions; ++i) {
                const std::vector<std::byte> page =
                    read_page(cache, layer, pages[i], cache.layer_place(layer).bytes(kKvHeads));
                stored.insert(stored.end(), page.begin(), page.end());
            }
        }
    }
    return states;
}

States run_reference(const SmallModel& model, const Prompts& prompts, CacheType type) {
    ReferenceOps ops;
    const auto cache = make_cache(SmallModel::geometry(), type, 40);
    return run_passes(
        model, ops, *cache, prompts, 512,
        [](Tensor tensor) { return std::vector<float>(tensor.host(), tensor.host() + tensor.rows() * tensor.width()); },
        [](const SequenceState& cache_read, int layer, int32_t page, int64_t bytes) {
            const std::byte* start = cache_read.keys(layer, page, 0);
            return std::vector<std::byte>(start, start + bytes);
        });
}

States run_device(const SmallModel& model, const DeviceBackend& backend, const Prompts& prompts, int64_t chunk,
                  CacheType type) {
    const auto cache = backend.make_cache(SmallModel::geometry(), type, 40);
    return run_passes(
        model, *backend.ops, *cache, prompts, chunk, [&](Tensor tensor) { return backend.read(tensor); },
        [&](const SequenceState& cache_read, int layer, int32_t page, int64_t bytes) {
            std::vector<std::byte> copy(static_cast<size_t>(bytes));
            const std::byte* start = cache_read.pool(layer).memory.get() + page * bytes;
            EXPECT_TRUE(backend.device->download(copy.data(), start, bytes).has_value());
            return copy;
        });
}

TEST(CudaOpsPass, GivesTheReferencesStatesAndCacheInEveryChunking) {
    const SmallModel model(61);
    Comparison comparison;
    int runs = 0;
    for (const CacheType type : {CacheType::f16, CacheType::f32}) {
        const Prompts prompts = make_prompts(1, {90, 3, 70});
        const States expected = run_reference(model, prompts, type);
        for (const int64_t chunk : {512, 24, 7}) {
            if (type == CacheType::f32 && chunk != 24) continue;
            const DeviceBackend backend = DeviceBackend::make(chunk == 24 ? 0 : int64_t{8} << 20);
            const States actual = run_device(model, backend, prompts, chunk, type);
            const int64_t differed = comparison.differ();
            for (size_t s = 0; s < prompts.tokens.size(); ++s) {
                comparison.add(expected.hidden[s].data(), actual.hidden[s].data(),
                               static_cast<int64_t>(expected.hidden[s].size()));
                comparison.add_exact(expected.stored[s].data(), actual.stored[s].data(),
                                     static_cast<int64_t>(expected.stored[s].size()));
            }
            EXPECT_EQ(comparison.differ(), differed) << "chunks of " << chunk;
            ++runs;
        }
    }
    comparison.print(std::to_string(runs) + " runs of a small model on the emulated device, states and caches");
    EXPECT_GT(comparison.compared(), 400'000);
}

}  // namespace
}  // namespace invar
