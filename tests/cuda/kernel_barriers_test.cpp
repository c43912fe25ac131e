// Every barrier, mask and wait of the kernels for norms, routing, attention, recurrences and ranks is shown to be
// needed.
#include <gtest/gtest.h>

#include "arithmetic/attention.h"
#include "arithmetic/elementary.h"
#include "arithmetic/norm.h"
#include "arithmetic/recurrence.h"
#include "arithmetic/rope.h"
#include "arithmetic/routing.h"
#include "arithmetic/softmax.h"
#include "cuda/attention.cuh"
#include "cuda/element_kernels.cuh"
#include "cuda/latent_attention.cuh"
#include "cuda/preselection.cuh"
#include "cuda/recurrence.cuh"
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
                simt::launch(device.stream(), {.y = 2, .threads = 256, .name = "rms_norm"},
                             cuda::root_norm_kernel<true>,
                             cuda::NormArgs{.x = {x.global(), 300},
                                            .y = {y.global(), 300},
                                            .weight = weight.constant(),
                                            .weight_size = 300,
                                            .bias = {},
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
                                             .spec = {.experts_per_row = kChosen},
                                             .selection_bias = {},
                                             .factors = {},
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

TEST(CudaKernels, EveryBrokenBarrierOfLayerNormsPositionScalesAndRoutersIsNoticed) {
    std::mt19937 random(20);
    MutationCounts counts;
    {
        const DeviceArray<float> x(make_inputs(random, 300)), weight(make_inputs(random, 300)),
            bias(make_inputs(random, 300));
        std::vector<float> expected(300);
        law::layer_norm(x.data(), weight.data(), bias.data(), 300, 1e-5f, expected.data());
        break_each_word(
            "layer_norm",
            [&](const EmulatedDevice& device) {
                const DeviceArray<float> y(300);
                simt::launch(device.stream(), {.threads = 256, .name = "layer_norm"}, cuda::layer_norm_kernel,
                             cuda::NormArgs{.x = {x.global(), 300},
                                            .y = {y.global(), 300},
                                            .weight = weight.constant(),
                                            .weight_size = 300,
                                            .bias = bias.constant(),
                                            .size = 300,
                                            .epsilon = 1e-5f,
                                            .inspector = device.inspector()});
                Comparison comparison;
                comparison.add(expected.data(), y.data(), 300);
                return comparison;
            },
            counts);
    }
    {
        const std::vector<float> values = make_inputs(random, 300);
        const DeviceArray<int32_t> position(std::vector<int32_t>{20'000});
        break_each_word(
            "scale_by_position",
            [&](const EmulatedDevice& device) {
                const DeviceArray<float> x(values);
                simt::launch(device.stream(), {.x = 2, .threads = 256, .name = "scale_by_position"},
                             cuda::scale_by_position_kernel,
                             cuda::PositionScaleArgs{.x = {x.global(), 300},
                                                     .positions = position.constant(),
                                                     .beta = 0.1,
                                                     .length = 8192,
                                                     .width = 300,
                                                     .inspector = device.inspector()});
                Comparison comparison;
                for (size_t i = 0; i < values.size(); ++i)
                    comparison.add(values[i] * law::position_scale(0.1, 8192, 20'000), x[static_cast<int64_t>(i)]);
                return comparison;
            },
            counts);
    }
    RouteSpec grouped{.experts_per_row = 3, .groups = 4, .groups_used = 2};
    grouped.group_score = RouteSpec::GroupScore::sum_of_best_two;
    for (const RouteSpec& spec :
         {grouped, RouteSpec{.experts_per_row = 5, .scoring = RouteSpec::Scoring::softmax_of_chosen}}) {
        constexpr int kOf = 80;  // of any two groups, one has experts that the first warp has not ranked itself
        const DeviceArray<float> logits(make_inputs(random, kOf)), bias(make_inputs(random, kOf));
        std::vector<float> scores(kOf);
        const Routing expected = law::route(spec, logits.data(), bias.data(), nullptr, kOf, scores.data());
        break_each_word(
            "route with groups or a softmax of the chosen",
            [&](const EmulatedDevice& device) {
                const DeviceArray<int32_t> experts(spec.experts_per_row);
                const DeviceArray<float> weights(spec.experts_per_row), margins(1);
                simt::launch(device.stream(), {.threads = 256, .name = "route"}, cuda::route_kernel,
                             cuda::RouteArgs{.logits = {logits.global(), kOf},
                                             .experts = kOf,
                                             .spec = spec,
                                             .selection_bias = bias.constant(),
                                             .factors = {},
                                             .expert_of_slot = experts.global(),
                                             .weight_of_slot = weights.global(),
                                             .margins = margins.global(),
                                             .inspector = device.inspector()});
                Comparison comparison;
                for (int i = 0; i < spec.experts_per_row; ++i) {
                    comparison.add_exact(&expected.experts[static_cast<size_t>(i)].expert, &experts[i], 1);
                    comparison.add(expected.experts[static_cast<size_t>(i)].weight, weights[i]);
                }
                comparison.add(expected.margin, margins[0]);
                return comparison;
            },
            counts);
    }
    print("CUDA layer_norm, scale_by_position, route", counts);
    EXPECT_EQ(counts.missed, 0);
    EXPECT_GE(counts.total(), 16);
}

// Two queries with sinks over 100 positions of two pages: with a key for each head, and with values in the keys.
TEST(CudaKernels, EveryBrokenBarrierOfAttentionWithSinksAndOfLatentAttentionIsNoticed) {
    std::mt19937 random(21);
    MutationCounts counts;
    constexpr int kKey = 72, kQueries = 2, kPositions = 100;
    for (const bool latent : {false, true}) {
        const int value_width = latent ? 40 : kKey;
        const int64_t key_bytes = int64_t{kKey} * 64 * 4, page_bytes = 2 * key_bytes;
        const std::vector<float> keys = make_inputs(random, kPositions * kKey),
                                 values = make_inputs(random, kPositions * kKey);
        const DeviceArray<uint8_t> memory(2 * page_bytes);
        for (int t = 0; t < kPositions; ++t) {
            uint8_t* const page = memory.data() + t / 64 * page_bytes;
            for (int i = 0; i < kKey; ++i) {
                std::memcpy(page + (i * 64 + t % 64) * 4, &keys[static_cast<size_t>(t * kKey + i)], 4);
                std::memcpy(page + key_bytes + (t % 64 * kKey + i) * 4, &values[static_cast<size_t>(t * kKey + i)], 4);
            }
        }
        const DeviceArray<float> queries(make_inputs(random, kQueries * kKey)), sinks(std::vector<float>{0.5f, 9.0f});
        std::vector<float> expected(static_cast<size_t>(kQueries * value_width));
        for (int q = 0; q < kQueries; ++q) {
            law::attention_head(
                {.head_width = kKey, .value_width = value_width, .scale = 0.125f, .sink = sinks[q]},
                queries.data() + q * kKey, {.first = 0, .last = kPositions},
                [&](int64_t t) { return keys.data() + t * kKey; },
                [&](int64_t t) { return (latent ? keys : values).data() + t * kKey; },
                expected.data() + q * value_width);
        }
        const DeviceArray<int32_t> zero(std::vector<int32_t>{0}), one(std::vector<int32_t>{1}),
            position(std::vector<int32_t>{kPositions - 1}), pages(std::vector<int32_t>{0, 1});
        break_each_word(
            latent ? "latent_attention" : "attention with sinks",
            [&](const EmulatedDevice& device) {
                const DeviceArray<float> out(kQueries * value_width), split_out(kQueries * value_width);
                const DeviceArray<float> m(kQueries * 2), l(kQueries * 2), o(kQueries * 2 * value_width);
                cuda::AttentionArgs args;
                args.cache = {.memory = memory.global(),
                              .page_bytes = page_bytes,
                              .values_at = latent ? 0 : key_bytes,
                              .key_head_bytes = key_bytes,
                              .value_head_bytes = latent ? 0 : key_bytes,
                              .kv_heads = 1,
                              .key_width = kKey,
                              .value_width = value_width,
                              .values_in_keys = latent ? 1 : 0};
                args.batch = {.tokens = zero.constant(),
                              .sequences = zero.constant(),
                              .positions = position.constant(),
                              .pages = pages.constant(),
                              .pages_of_sequence = 2};
                args.queries = {queries.global(), kQueries * kKey};
                args.out = {out.global(), kQueries * value_width};
                args.heads = kQueries;
                args.scale = 0.125f;
                args.sinks = sinks.constant();
                args.tile_first = zero.constant();
                args.tile_rows = one.constant();
                args.inspector = device.inspector();
                const auto attend = [&](int chunks) {
                    const simt::Grid grid{.z = chunks, .threads = latent ? 256 : 512, .name = "attention"};
                    if (latent) {
                        simt::launch(device.stream(), grid, cuda::latent_attention_kernel<CacheType::f32>, args);
                    } else {
                        simt::launch(device.stream(), grid, cuda::attention_kernel<CacheType::f32, 512, 8>, args);
                    }
                };
                attend(1);
                Comparison comparison;
                comparison.add(expected.data(), out.data(), kQueries * value_width);
                args.out = {split_out.global(), kQueries * value_width};
                args.chunk_m = m.global();
                args.chunk_l = l.global();
                args.chunk_o = o.global();
                args.chunks = 2;
                attend(2);
                simt::launch(device.stream(), {.x = kQueries, .threads = 512, .name = "attention_merge"},
                             cuda::attention_merge_kernel<512>, args);
                comparison.add(expected.data(), split_out.data(), kQueries * value_width);
                return comparison;
            },
            counts);
    }
    print("CUDA attention with sinks, latent attention", counts);
    EXPECT_EQ(counts.missed, 0);
    EXPECT_GE(counts.total(), 20);
}

TEST(CudaKernels, EveryBrokenBarrierOfARecurrenceIsNoticed) {
    std::mt19937 random(22);
    constexpr int kKey = 40, kValue = 3, kRows = 3;
    const DeviceArray<float> x(make_inputs(random, kRows * (2 * kKey + kValue))), gates(make_inputs(random, kRows * 2)),
        a(std::vector<float>{-0.5f}), dt_bias(std::vector<float>{0.25f});
    const std::vector<float> before = make_inputs(random, kKey * kValue);
    std::vector<float> state = before, expected(kRows * kValue);
    for (int row = 0; row < kRows; ++row) {
        const float* of_row = x.data() + row * (2 * kKey + kValue);
        law::delta_step(of_row, of_row + kKey, of_row + 2 * kKey, law::decay(a[0], gates[2 * row], dt_bias[0]),
                        law::sigmoid(gates[2 * row + 1]), kKey, kValue, state.data(), expected.data() + row * kValue);
    }
    const DeviceArray<int32_t> zeros(std::vector<int32_t>(kRows, 0)), count(std::vector<int32_t>{kRows});
    MutationCounts counts;
    break_each_word(
        "delta_rule",
        [&](const EmulatedDevice& device) {
            const DeviceArray<float> stored(before), out(kRows * kValue);
            const auto bytes = simt::global(reinterpret_cast<uint8_t*>(stored.data()), stored.count() * 4);
            simt::launch(device.stream(), {.threads = cuda::kStateColumns, .name = "delta_rule"},
                         cuda::recurrence_kernel<true>,
                         cuda::RecurrenceArgs{.x = {x.global(), 2 * kKey + kValue},
                                              .gates = {gates.global(), 2},
                                              .out = {out.global(), kValue},
                                              .a = a.constant(),
                                              .dt_bias = dt_bias.constant(),
                                              .d = {},
                                              .state = {.memory = bytes, .unit_bytes = stored.count() * 4, .at = 0},
                                              .runs = {.batch = {.tokens = zeros.constant(),
                                                                 .sequences = zeros.constant(),
                                                                 .positions = zeros.constant(),
                                                                 .pages = zeros.constant(),
                                                                 .pages_of_sequence = 1},
                                                       .first = zeros.constant(),
                                                       .rows = count.constant(),
                                                       .count = 1},
                                              .key_heads = 1,
                                              .value_heads = 1,
                                              .key_width = kKey,
                                              .value_width = kValue,
                                              .inspector = device.inspector()});
            Comparison comparison;
            comparison.add(expected.data(), out.data(), kRows * kValue);
            comparison.add(state.data(), stored.data(), kKey * kValue);
            return comparison;
        },
        counts);
    print("CUDA delta_rule", counts);
    EXPECT_EQ(counts.missed, 0);
    EXPECT_GE(counts.total(), 2);
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
