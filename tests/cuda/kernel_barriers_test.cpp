// Every barrier, mask and wait of the kernels for norms, routing, attention and ranks is shown to be needed.
#include <gtest/gtest.h>

#include "arithmetic/attention.h"
#include "arithmetic/norm.h"
#include "arithmetic/routing.h"
#include "arithmetic/softmax.h"
#include "cuda/attention.cuh"
#include "cuda/preselection.cuh"
#include "cuda/routing.cuh"
#include "device_ops.h"
#include "kernel_mutations.h"

namespace invar {
namespace {

// A verb on an emulated device whose emulator is the mutated one: kernels are launched directly.
TEST(CudaKernels, EveryBrokenBarrierAndMaskIsNoticed) {
    std::mt19937 random(10);
    MutationCounts counts;
    {
        const DeviceArray<float> x(make_inputs(random, 2 * 300)), weight(make_inputs(random, 300));
        std::vector<float> expected(600);
        for (int row = 0; row < 2; ++row)
            law::rms_norm(x.data() + 300 * row, weight.data(), 300, 1e-5f, expected.data() + 300 * row);
        break_each_word(
            "rms_norm",
            [&](const EmulatedDevice& device) {
                const DeviceArray<float> y(600);
                simt::launch(device.stream(), {.y = 2, .threads = 256, .name = "rms_norm"}, cuda::rms_norm_kernel,
                             cuda::NormArgs{.x = {x.global(), 300},
                                            .y = {y.global(), 300},
                                            .weight = weight.constant(),
                                            .size = 300,
                                            .epsilon = 1e-5f,
                                            .inspector = device.inspector()});
                Comparison comparison;
                comparison.add(expected.data(), y.data(), 600);
                return comparison;
            },
            counts);
    }
    {
        // Softmax and ranking of one row, ties included.
        constexpr int kOf = 40, kChosen = 3;
        std::vector<float> values = make_inputs(random, kOf);
        values[7] = values[31] = 3.0f;
        const DeviceArray<float> logits(values);
        std::vector<float> probabilities(kOf);
        law::softmax(values.data(), kOf, probabilities.data());
        Routing expected = law::top_k(probabilities.data(), kOf, kChosen);
        law::renormalise(expected);
        break_each_word(
            "route",
            [&](const EmulatedDevice& device) {
                const DeviceArray<int32_t> experts(kChosen);
                const DeviceArray<float> weights(kChosen), margins(1);
                simt::launch(device.stream(), {.threads = 256, .name = "route"}, cuda::route_kernel,
                             cuda::RouteArgs{.logits = {logits.global(), kOf},
                                             .experts = kOf,
                                             .chosen = kChosen,
                                             .renormalise = 1,
                                             .expert_of_slot = experts.global(),
                                             .weight_of_slot = weights.global(),
                                             .margins = margins.global(),
                                             .inspector = device.inspector()});
                Comparison comparison;
                for (int i = 0; i < kChosen; ++i) {
                    comparison.add_exact(&expected.experts[static_cast<size_t>(i)].expert, &experts[i], 1);
                    comparison.add(expected.experts[static_cast<size_t>(i)].weight, weights[i]);
                }
                comparison.add(expected.margin, margins[0]);
                return comparison;
            },
            counts);
    }
    {
        // Two queries of one key head over 100 positions of two pages.
        constexpr int kHeadWidth = 64, kQueries = 2, kPositions = 100;
        const KvGeometry geometry{.kv_heads = 1, .key_width = kHeadWidth, .value_width = kHeadWidth, .window = 0};
        const auto cache = make_cache({geometry}, CacheType::f32, 2);
        const std::vector<float> keys = make_inputs(random, kPositions * kHeadWidth),
                                 values = make_inputs(random, kPositions * kHeadWidth);
        const int64_t page_bytes = cache->bytes() / 2;
        const DeviceArray<uint8_t> memory(cache->bytes());
        for (int t = 0; t < kPositions; ++t) {
            for (int i = 0; i < kHeadWidth; ++i) {
                uint8_t* const page = memory.data() + t / 64 * page_bytes;
                std::memcpy(page + (i * 64 + t % 64) * 4, &keys[static_cast<size_t>(t * kHeadWidth + i)], 4);
                std::memcpy(page + page_bytes / 2 + (t % 64 * kHeadWidth + i) * 4,
                            &values[static_cast<size_t>(t * kHeadWidth + i)], 4);
            }
        }
        const DeviceArray<float> queries(make_inputs(random, kQueries * kHeadWidth));
        std::vector<float> expected(kQueries * kHeadWidth);
        for (int q = 0; q < kQueries; ++q) {
            law::attention_head(
                {.head_width = kHeadWidth, .value_width = kHeadWidth, .scale = 0.125f}, queries.data() + q * kHeadWidth,
                {.first = 0, .last = kPositions}, [&](int64_t t) { return keys.data() + t * kHeadWidth; },
                [&](int64_t t) { return values.data() + t * kHeadWidth; }, expected.data() + q * kHeadWidth);
        }
        const DeviceArray<int32_t> zero(std::vector<int32_t>{0}), one(std::vector<int32_t>{1}),
            position(std::vector<int32_t>{kPositions - 1}), pages(std::vector<int32_t>{0, 1});
        break_each_word(
            "attention",
            [&](const EmulatedDevice& device) {
                const DeviceArray<float> out(kQueries * kHeadWidth);
                cuda::AttentionArgs args;
                args.cache = {.memory = memory.global(),
                              .page_bytes = page_bytes,
                              .values_at = page_bytes / 2,
                              .key_head_bytes = page_bytes / 2,
                              .value_head_bytes = page_bytes / 2,
                              .kv_heads = 1,
                              .key_width = kHeadWidth,
                              .value_width = kHeadWidth};
                args.batch = {.tokens = zero.constant(),
                              .sequences = zero.constant(),
                              .positions = position.constant(),
                              .pages = pages.constant(),
                              .pages_of_sequence = 2};
                args.queries = {queries.global(), kQueries * kHeadWidth};
                args.out = {out.global(), kQueries * kHeadWidth};
                args.heads = kQueries;
                args.scale = 0.125f;
                args.tile_first = zero.constant();
                args.tile_rows = one.constant();
                args.inspector = device.inspector();
                simt::launch(device.stream(), {.threads = 128, .name = "attention"},
                             cuda::attention_kernel<CacheType::f32, 128, 4>, args);
                Comparison comparison;
                comparison.add(expected.data(), out.data(), kQueries * kHeadWidth);
                // The same with a block for each chunk.
                const DeviceArray<float> split_out(kQueries * kHeadWidth), m(kQueries * 2), l(kQueries * 2),
                    o(kQueries * 2 * kHeadWidth);
                args.out = {split_out.global(), kQueries * kHeadWidth};
                args.chunk_m = m.global();
                args.chunk_l = l.global();
                args.chunk_o = o.global();
                args.chunks = 2;
                simt::launch(device.stream(), {.z = 2, .threads = 128, .name = "attention"},
                             cuda::attention_kernel<CacheType::f32, 128, 8>, args);
                simt::launch(device.stream(), {.x = kQueries, .threads = 128, .name = "attention_merge"},
                             cuda::attention_merge_kernel<128>, args);
                comparison.add(expected.data(), split_out.data(), kQueries * kHeadWidth);
                return comparison;
            },
            counts);
    }
    print("CUDA rms_norm, route, attention", counts);
    EXPECT_EQ(counts.missed, 0);
    EXPECT_GE(counts.total(), 18);
}

TEST(CudaKernels, EveryBrokenBarrierOfPreselectionIsNoticed) {
    std::mt19937 random(19);
    constexpr int64_t kVocabulary = 1500;
    const DeviceArray<float> logits(make_inputs(random, kVocabulary));
    std::vector<LogitEdit> bans;
    for (int i = 0; i < 20; ++i) bans.push_back({.token = 70 * i, .banned = 1});
    const DeviceArray<LogitEdit> edits(bans);
    const DeviceArray<cuda::PreselectRow> rows(std::vector<cuda::PreselectRow>{{0, 20, 1, 0, 0, 1}});
    std::vector<uint64_t> expected;
    for (int64_t i = 0; i < kVocabulary; ++i)
        if (i % 70 != 0 || i / 70 >= 20) expected.push_back(cuda::rank_key(logits[i], i));
    std::sort(expected.rbegin(), expected.rend());
    MutationCounts counts;
    break_each_word(
        "preselection",
        [&](const EmulatedDevice& device) {
            const DeviceArray<uint64_t> wrong(1), keys(20), first(10);
            simt::launch(device.stream(), {.x = 2, .threads = cuda::kSortThreads, .name = "preselect"},
                         cuda::preselect_kernel,
                         cuda::PreselectArgs{.logits = {logits.global(), kVocabulary},
                                             .vocabulary = kVocabulary,
                                             .rows = rows.constant(),
                                             .edits = edits.constant(),
                                             .count = 10,
                                             .wrong = wrong.global(),
                                             .keys = keys.global()});
            simt::launch(device.stream(), {.threads = cuda::kSortThreads, .name = "keep_first"},
                         cuda::keep_first_kernel,
                         cuda::KeepFirstArgs{.from = keys.constant(), .keys = 20, .count = 10, .to = first.global()});
            Comparison comparison;
            comparison.add_exact(expected.data(), first.data(), 10);
            return comparison;
        },
        counts);
    print("CUDA preselection", counts);
    EXPECT_EQ(counts.missed, 0);
    EXPECT_GE(counts.total(), 4);
}

}  // namespace
}  // namespace invar
