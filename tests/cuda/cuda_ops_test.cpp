// Single verbs of the emulated device against the plain reference, on the shapes and numbers that hurt; the first
// non-finite result is named like on the CPU; and every barrier, mask and wait of the kernels is shown to be needed.
#include <gtest/gtest.h>

#include <limits>

#include "arithmetic/norm.h"
#include "arithmetic/routing.h"
#include "arithmetic/softmax.h"
#include "cuda/attention.cuh"
#include "cuda/device_stream.cuh"
#include "cuda/routing.cuh"
#include "device_ops.h"
#include "kernel_mutations.h"

namespace invar {
namespace {

// A verb on both machines: `run` computes a tensor with the Ops and the tensors made by `make`.
using MakeTensor = std::function<Tensor(int64_t rows, int64_t width, const std::vector<float>& values)>;
using VerbRun = std::function<Tensor(Ops& ops, const MakeTensor& make)>;

std::vector<float> host_values(Tensor tensor) {
    std::vector<float> values;
    for (int64_t row = 0; row < tensor.rows(); ++row)
        values.insert(values.end(), tensor.host_row(row), tensor.host_row(row) + tensor.width());
    return values;
}

void compare_verb(const DeviceBackend& backend, const VerbRun& run, Comparison& comparison, const std::string& what) {
    ReferenceOps reference;
    reference.begin_pass();
    const auto make_host = [&](int64_t rows, int64_t width, const std::vector<float>& values) {
        return make_tensor(reference, rows, width, values);
    };
    const std::vector<float> expected = host_values(run(reference, make_host));
    backend.ops->begin_pass();
    const auto make_device = [&](int64_t rows, int64_t width, const std::vector<float>& values) {
        return backend.tensor(rows, width, values);
    };
    const std::vector<float> actual = backend.read(run(*backend.ops, make_device));
    ASSERT_EQ(expected.size(), actual.size());
    const int64_t differed = comparison.differ();
    comparison.add(expected.data(), actual.data(), static_cast<int64_t>(expected.size()));
    EXPECT_EQ(comparison.differ(), differed) << what;
    EXPECT_TRUE(same_failure(reference.failure(), backend.ops->failure())) << what;
}

TEST(CudaOps, RowVerbsEqualTheReference) {
    std::mt19937 random(5);
    Comparison comparison;
    for (const int64_t width : {1, 31, 128, 256, 300, 1030}) {
        for (const Inputs kind : {Inputs::hard, Inputs::extreme}) {
            const DeviceBackend backend = DeviceBackend::make(0);
            const std::vector<float> a = make_inputs(random, 3 * width, kind), b = make_inputs(random, 3 * width, kind);
            const std::vector<float> w = make_inputs(random, width);
            const WeightVector weight{.id = {}, .data = w.data(), .size = width};
            const std::string what = "width " + std::to_string(width);
            compare_verb(
                backend,
                [&](Ops& ops, const MakeTensor& make) {
                    const Tensor x = make(3, width, a);
                    ops.rms_norm({0, "norm"}, x, weight, 1e-6f, x);
                    return x;
                },
                comparison, what + ", rms_norm");
            compare_verb(
                backend,
                [&](Ops& ops, const MakeTensor& make) {
                    const Tensor x = make(3, width, a), y = make(3, width, b);
                    ops.silu_multiply({0, "activation"}, x, y, x);
                    ops.add({0, "sum"}, y, x);
                    ops.add_bias({0, "biased"}, y, weight);
                    return y;
                },
                comparison, what + ", silu_multiply, add, add_bias");
            const std::vector<int32_t> rows = {2, 0};
            compare_verb(
                backend,
                [&](Ops& ops, const MakeTensor& make) {
                    const Tensor x = make(3, width, a), y = ops.scratch(2, width);
                    ops.gather_rows({-1, "last"}, x, rows, y);
                    return y;
                },
                comparison, what + ", gather_rows");
        }
    }
    comparison.print("CUDA row verbs");
    EXPECT_GT(comparison.compared(), 25'000);
}

TEST(CudaOps, EmbeddingsOfEveryFormatEqualTheReference) {
    std::mt19937 random(6);
    Comparison comparison;
    Batch batch = rows_of(0, 0, 4);
    for (int i = 0; i < 4; ++i)
        batch.rows[static_cast<size_t>(i)].token = std::array{0, 6, 3, 5}[static_cast<size_t>(i)];
    for (const Format* format : formats()) {
        const DeviceBackend backend = DeviceBackend::make(0);
        const int64_t columns = format->block_weights == 256 ? 1280 : 320;
        OwnedMatrix table = make_matrix(random, format->id, StoredForm::as_stored, 7, columns);
        if (format->id == FormatId::nvfp4) table.view.scale = 0.37f;
        compare_verb(
            backend,
            [&](Ops& ops, const MakeTensor&) {
                const Tensor out = ops.scratch(4, columns);
                ops.embed({-1, "embedding"}, table.view, batch, out);
                return out;
            },
            comparison, std::string(format->name));
    }
    comparison.print("CUDA embeddings of every format");
    EXPECT_GT(comparison.compared(), 30'000);
}

TEST(CudaOps, RopeEqualsTheReferenceWithItsTablesMadeOnTheDevice) {
    std::mt19937 random(7);
    const DeviceBackend backend = DeviceBackend::make();
    Comparison comparison;
    Batch batch;
    for (const int64_t position : {0, 1, 77, 4095, 131071, 16777215})
        batch.rows.push_back({.token = 0, .sequence = 0, .position = position});
    for (const RopePairing pairing : {RopePairing::adjacent, RopePairing::halves}) {
        for (const int rotary : {128, 64, 2}) {
            RopeSpec spec;
            spec.pairing = pairing;
            spec.rotary_width = rotary;
            spec.head_width = 128;
            spec.base = 5e5;
            if (rotary == 64) {
                spec.scaling = RopeSpec::Scaling::yarn;
                spec.factor = 4;
                spec.original_context = 32768;
            }
            const RopeTable table(spec);
            const std::vector<float> values = make_inputs(random, 6 * 256, Inputs::hard);
            compare_verb(
                backend,
                [&](Ops& ops, const MakeTensor& make) {
                    const Tensor x = make(6, 256, values);
                    ops.rope({0, "rope"}, table, batch, x);
                    return x;
                },
                comparison, "rotary width " + std::to_string(rotary));
        }
    }
    comparison.print("CUDA rope");
    EXPECT_EQ(comparison.compared(), 6 * 6 * 256);
}

TEST(CudaOps, AttentionEqualsTheReferenceForEveryHeadShapeWindowAndSplit) {
    struct Shape {
        int heads, kv_heads, width, window;
        CacheType type;
        float softcap;
    };
    std::mt19937 random(8);
    Comparison comparison;
    const Shape shapes[] = {{4, 2, 64, 0, CacheType::f16, 0},
                            {12, 1, 80, 0, CacheType::bf16, 0},
                            {3, 3, 128, 70, CacheType::f16, 30},
                            {8, 1, 200, 0, CacheType::f32, 0},
                            {10, 1, 32, 100, CacheType::f16, 0}};
    for (const Shape& shape : shapes) {
        const std::vector<KvGeometry> geometry = {
            {.kv_heads = shape.kv_heads, .key_width = shape.width, .value_width = shape.width, .window = shape.window}};
        const int64_t history = 150, key_width = int64_t{shape.kv_heads} * shape.width,
                      width = int64_t{shape.heads} * shape.width;
        const std::vector<float> keys = make_inputs(random, history * key_width),
                                 values = make_inputs(random, history * key_width, Inputs::hard);
        for (const int64_t rows : {1, 13}) {
            for (const int64_t chunk_bytes : {int64_t{0}, int64_t{1} << 20}) {
                const std::vector<float> queries = make_inputs(random, rows * width);
                const DeviceBackend backend = DeviceBackend::make(chunk_bytes);
                const auto run = [&](Ops& ops, const MakeTensor& make, KvCache& cache) {
                    cache.add_sequence();
                    CHECK(cache.reserve(0, history).has_value(), "room");
                    ops.store_kv({0, "stored"}, 0, rows_of(0, 0, history), make(history, key_width, keys),
                                 make(history, key_width, values), cache);
                    const Tensor out = ops.scratch(rows, width);
                    ops.attention({0, "attention"},
                                  {.layer = 0, .heads = shape.heads, .scale = 0.1f, .softcap = shape.softcap},
                                  rows_of(0, history - rows, rows), make(rows, width, queries), cache, out);
                    return out;
                };
                const auto host_cache = make_cache(geometry, shape.type, 3);
                const auto device_cache = backend.make_cache(geometry, shape.type, 3);
                compare_verb(
                    backend,
                    [&](Ops& ops, const MakeTensor& make) {
                        return run(ops, make, &ops == backend.ops.get() ? *device_cache : *host_cache);
                    },
                    comparison, "heads of " + std::to_string(shape.width) + ", " + std::to_string(rows) + " rows");
            }
        }
    }
    comparison.print("CUDA attention");
    EXPECT_GT(comparison.compared(), 70'000);
}

// Equal probabilities, one expert, all experts, sharp and flat routers; then products grouped by expert.
TEST(CudaOps, RoutingAndExpertsEqualTheReference) {
    std::mt19937 random(9);
    Comparison comparison;
    struct Shape {
        int64_t rows;
        int experts, chosen;
        FormatId format;
    };
    for (const Shape& shape :
         {Shape{3, 8, 2, FormatId::q4_k}, Shape{40, 6, 3, FormatId::q6_k}, Shape{5, 4, 4, FormatId::mxfp4},
          Shape{30, 3, 1, FormatId::bf16}, Shape{33, 300, 2, FormatId::q8_0}}) {
        const DeviceBackend backend = DeviceBackend::make();
        std::vector<float> logits = make_inputs(random, shape.rows * shape.experts);
        for (size_t i = 0; i < logits.size(); i += 3) logits[i] = 1.5f;  // ties
        const OwnedStack experts = make_stack(random, shape.format, StoredForm::as_stored, shape.experts, 20, 256);
        const std::vector<float> x = make_inputs(random, shape.rows * 256, Inputs::hard);
        for (const bool renormalise : {false, true}) {
            compare_verb(
                backend,
                [&](Ops& ops, const MakeTensor& make) {
                    const ExpertSlots slots = ops.scratch_slots(shape.rows, shape.chosen);
                    ops.route({0, "routing"}, {.experts_per_row = shape.chosen, .renormalise = renormalise},
                              make(shape.rows, shape.experts, logits), slots);
                    const Tensor of_slots = ops.scratch(shape.rows * shape.chosen, 20), y = ops.scratch(shape.rows, 20);
                    ops.expert_linear({0, "experts"}, experts.view, slots, SlotInput::row_of_slot,
                                      make(shape.rows, 256, x), of_slots);
                    ops.combine_experts({0, "sum"}, slots, of_slots, y);
                    return y;
                },
                comparison, std::to_string(shape.experts) + " experts");
        }
    }
    comparison.print("CUDA routing, expert products, sums");
    EXPECT_GT(comparison.compared(), 4'000);
}

TEST(CudaOps, TheFirstNonFiniteResultIsNamedLikeOnTheCpu) {
    const DeviceBackend backend = DeviceBackend::make();
    Comparison comparison;
    int named = 0;
    for (const float poison : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                               -std::numeric_limits<float>::infinity()}) {
        for (const int64_t place : {0, 299, 700}) {
            std::vector<float> a(900, 1.0f), b(900, 2.0f);
            a[static_cast<size_t>(place)] = poison;
            b[500] = poison;
            compare_verb(
                backend,
                [&](Ops& ops, const MakeTensor& make) {
                    const Tensor x = make(3, 300, a), y = make(3, 300, b);
                    ops.add({2, "first"}, y, x);
                    ops.add({3, "second"}, x, y);
                    return x;
                },
                comparison, "place " + std::to_string(place));
            const auto failure = backend.ops->failure();
            named +=
                failure && failure->stage.layer == 2 && failure->row == std::min<int64_t>(place, 500) / 300 ? 1 : 0;
        }
    }
    EXPECT_EQ(named, 9);
}

// ---- every barrier and mask is needed

// A verb on an emulated device whose emulator is the mutated one: kernels are launched directly.
TEST(CudaOps, EveryBrokenBarrierAndMaskIsNoticed) {
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

}  // namespace
}  // namespace invar
