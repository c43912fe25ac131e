// Single verbs of the emulated device against the plain reference, on the shapes and numbers that hurt; the first
// non-finite result is named like on the CPU.
#include <gtest/gtest.h>

#include <limits>

#include "verb_comparison.h"

namespace invar {
namespace {

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
                    ops.activate({0, "activation"}, {}, x, y, x);
                    ops.add({0, "sum"}, y, x);
                    ops.add_bias({0, "biased"}, y, weight);
                    return y;
                },
                comparison, what + ", activate, add, add_bias");
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
    Batch batch = rows_of(0, 1, 4);
    for (int i = 0; i < 4; ++i)
        batch.rows[static_cast<size_t>(i)].token = std::array{0, 6, 3, 5}[static_cast<size_t>(i)];
    for (const Format* format : formats()) {
        const DeviceBackend backend = DeviceBackend::make(0);
        const int64_t columns = format->block_weights > 64 ? 1280 : 320;
        OwnedMatrix table = make_matrix(random, format->id, StoredForm::as_stored, 7, columns);
        const std::vector<float> row_scales = {1.5f, 0.25f, 3.0f, 0.7f, 1.1f, 0.9f, 2.2f};
        if (static_cast<int>(format->id) % 2 == 0) table.view.scale = 0.37f;
        if (static_cast<int>(format->id) % 3 == 0) table.view.row_scales = row_scales.data();
        for (const TableRow row : {TableRow::token, TableRow::position, TableRow::first}) {
            compare_verb(
                backend,
                [&](Ops& ops, const MakeTensor&) {
                    const Tensor out = ops.scratch(4, columns);
                    ops.embed({-1, "embedding"}, table.view, batch, out, row);
                    return out;
                },
                comparison, std::string(format->name));
        }
    }
    comparison.print("CUDA embeddings of every format");
    EXPECT_GT(comparison.compared(), 90'000);
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
                const auto run = [&](Ops& ops, const MakeTensor& make, SequenceState& cache) {
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
        OwnedStack experts = make_stack(random, shape.format, StoredForm::as_stored, shape.experts, 20, 256);
        give_scales(experts, random);
        const std::vector<float> x = make_inputs(random, shape.rows * 256, Inputs::hard);
        for (const bool renormalise : {false, true}) {
            compare_verb(
                backend,
                [&](Ops& ops, const MakeTensor& make) {
                    const ExpertSlots slots = ops.scratch_slots(shape.rows, shape.chosen);
                    ops.route({0, "routing"}, {.experts_per_row = shape.chosen, .renormalise = renormalise},
                              make(shape.rows, shape.experts, logits), slots);
                    const Tensor of_slots = ops.scratch(shape.rows * shape.chosen, 20), y = ops.scratch(shape.rows, 20);
                    const Tensor inputs = make(shape.rows, 256, x);
                    if (renormalise) {
                        ops.expert_linear({0, "experts"}, experts.view, slots, SlotInput::row_of_slot, inputs,
                                          of_slots);
                    } else {  // as Llama 4 has it
                        const Tensor weighed = ops.scratch(shape.rows * shape.chosen, 256);
                        ops.weigh_slots({0, "inputs"}, slots, inputs, weighed);
                        ops.expert_linear({0, "experts"}, experts.view, slots, SlotInput::slot, weighed, of_slots);
                    }
                    ops.combine_experts({0, "sum"}, slots, of_slots, y, !renormalise);
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

TEST(CudaOps, AFormatThatTheDeviceLacksIsAnErrorOfThePlanningPassAndNoCrash) {
    auto device = Device::open(0);
    ASSERT_TRUE(device.has_value());
    const auto finished = [&](const Format& of) {
        auto ops = CudaOps::create({.device = **device, .measuring = true});
        CHECK(ops.has_value(), "measuring takes no memory");
        const WeightMatrix known{.id = {2, "gate"},
                                 .format = &format(FormatId::q4_k),
                                 .form = StoredForm::device_lanes,
                                 .rows = 64,
                                 .columns = 256};
        WeightMatrix other = known;
        other.format = &of;
        const Tensor x = (*ops)->scratch(2, 256), gate = (*ops)->scratch(2, 64), up = (*ops)->scratch(2, 64);
        const LinearJob jobs[] = {{{2, "gate"}, &known, gate}, {{2, "up"}, &other, up}};
        (*ops)->linear_many(jobs, x);
        const Result<void> result = (*ops)->finish();
        return result ? std::string("nothing lacks") : result.error().message;
    };
    EXPECT_EQ(finished(format(FormatId::q6_k)), "nothing lacks");
    Format unlisted = format(FormatId::q6_k);
    unlisted.id = static_cast<FormatId>(250);
    unlisted.name = "toy";
    EXPECT_EQ(finished(unlisted),
              "the CUDA device has no kernel for linear of layer 2 up, toy [64, 256], for 2 rows; use --device cpu");
}

}  // namespace
}  // namespace invar
