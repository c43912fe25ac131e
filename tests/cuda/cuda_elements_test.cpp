// The verbs of single elements, the norms, the routers and the products of heads on the emulated device against the
// plain reference: every kind and form, widths around the parts of a block, rows with gaps, hostile numbers.
#include <gtest/gtest.h>

#include "verb_comparison.h"

namespace invar {
namespace {

constexpr int64_t kWidths[] = {1, 31, 256, 300, 1030};

TEST(CudaElements, ActivationsOfEveryKindEqualTheLawWithAndWithoutASecondOperand) {
    std::mt19937 random(31);
    Comparison comparison;
    const ActivationSpec specs[] = {
        {.kind = Activation::silu},    {.kind = Activation::gelu_tanh},
        {.kind = Activation::gelu},    {.kind = Activation::relu_squared},
        {.kind = Activation::sigmoid}, {.kind = Activation::clamped_swiglu, .alpha = 1.702f, .limit = 7.0f},
        {.kind = Activation::identity}};
    for (const ActivationSpec& spec : specs) {
        for (const int64_t width : kWidths) {
            for (const Inputs kind : {Inputs::hard, Inputs::extreme}) {
                const DeviceBackend backend = DeviceBackend::make(0);
                const std::vector<float> a = make_inputs(random, 3 * width, kind);
                const std::vector<float> b = make_inputs(random, 3 * width, kind);
                for (const bool has_up : {true, false}) {
                    if (!has_up && spec.kind == Activation::clamped_swiglu) continue;
                    compare_verb(
                        backend,
                        [&](Ops& ops, const MakeTensor& make) {
                            const Tensor gate = make(3, width, a), up = has_up ? make(3, width, b) : Tensor();
                            ops.activate({0, "activation"}, spec, gate, up, gate);
                            return gate;
                        },
                        comparison, std::string(activation_name(spec.kind)) + " of " + std::to_string(width));
                }
            }
        }
    }
    comparison.print("CUDA activations");
    EXPECT_GT(comparison.compared(), 80'000);
}

TEST(CudaElements, FactorsCapsGatesAndCopiesEqualTheLaw) {
    std::mt19937 random(32);
    Comparison comparison;
    Batch batch;
    for (const int64_t position : {0, 8191, 8192, 100'000, 1'048'575})
        batch.rows.push_back({.token = 0, .sequence = 0, .position = position});
    const int64_t rows = batch.size();
    for (const int64_t width : kWidths) {
        for (const Inputs kind : {Inputs::hard, Inputs::extreme}) {
            const DeviceBackend backend = DeviceBackend::make(0);
            const std::vector<float> values = make_inputs(random, rows * width, kind);
            const std::vector<float> gates = make_inputs(random, rows, Inputs::hard);
            const std::vector<float> weight = make_inputs(random, width), one = {0.37f};
            const std::vector<std::function<void(Ops&, const MakeTensor&, Tensor)>> verbs = {
                [](Ops& ops, const MakeTensor&, Tensor x) {
                    ops.scale({0, "scaled"}, x, 0.0883883f);
                },
                [&](Ops& ops, const MakeTensor&, Tensor x) {
                    ops.scale_by_position({0, "tempered"}, {.beta = 0.1, .length = 8192, .offset = 1}, batch, x);
                },
                [&](Ops& ops, const MakeTensor&, Tensor x) {
                    ops.multiply({0, "multiplied"}, x, vector_of(weight));
                },
                [&](Ops& ops, const MakeTensor&, Tensor x) {
                    ops.multiply({0, "multiplied"}, x, vector_of(one));
                },
                [](Ops& ops, const MakeTensor&, Tensor x) {
                    ops.softcap({0, "capped"}, x, 30.0f);
                },
                [&](Ops& ops, const MakeTensor& make, Tensor x) {
                    ops.gate_rows({0, "gated"}, x, make(rows, 1, gates));
                }};
            for (size_t i = 0; i < verbs.size(); ++i) {
                compare_verb(
                    backend,
                    [&](Ops& ops, const MakeTensor& make) {
                        const Tensor x = make(rows, width, values);
                        verbs[i](ops, make, x);
                        return x;
                    },
                    comparison, "verb " + std::to_string(i) + " of " + std::to_string(width));
            }
        }
    }
    comparison.print("CUDA factors, caps and gates");
    EXPECT_GT(comparison.compared(), 90'000);
}

// Columns of wider rows, as latent attention and gated queries use them.
TEST(CudaElements, RowsWithGapsAreReadAndWrittenAndTheGapsAreLeftAlone) {
    std::mt19937 random(33);
    const DeviceBackend backend = DeviceBackend::make(0);
    Comparison comparison;
    const std::vector<float> values = make_inputs(random, 4 * 600), weight = make_inputs(random, 100);
    const std::vector<float> slots = make_inputs(random, 4 * 600);
    compare_verb(
        backend,
        [&](Ops& ops, const MakeTensor& make) {
            const Tensor x = make(4, 600, values), y = make(4, 600, slots);
            const Tensor heads = x.pieces(3);  // [12, 200]
            ops.copy({0, "copy"}, heads.columns(100, 100), y.pieces(3).columns(50, 100));
            ops.rms_norm({0, "norm"}, heads.columns(0, 100), vector_of(weight), 1e-6f, y.pieces(3).columns(10, 100));
            ops.activate({0, "gated"}, {.kind = Activation::sigmoid}, heads.columns(100, 100), heads.columns(0, 100),
                         heads.columns(0, 100));
            ops.multiply({0, "multiplied"}, x.columns(500, 100), vector_of(weight));
            ops.add({0, "sum"}, y, x);
            return y;
        },
        comparison, "rows with gaps");
    comparison.print("CUDA rows with gaps");
    EXPECT_EQ(comparison.compared(), 4 * 600);
}

TEST(CudaElements, NormsOfEveryKindAndGroupingEqualTheLaw) {
    std::mt19937 random(34);
    Comparison comparison;
    struct Shape {
        int64_t groups, group, weight_groups;  // weight_groups 0: no weight
    };
    for (const Shape& shape : {Shape{1, 300, 1}, Shape{4, 64, 1}, Shape{8, 96, 8}, Shape{6, 40, 2}, Shape{3, 513, 0},
                               Shape{1, 1, 0}, Shape{2, 1030, 2}}) {
        const int64_t width = shape.groups * shape.group;
        const std::vector<float> weight = make_inputs(random, shape.weight_groups * shape.group);
        const WeightVector of_weight = vector_of(weight);
        for (const Inputs kind : {Inputs::hard, Inputs::extreme}) {
            const DeviceBackend backend = DeviceBackend::make(0);
            const std::vector<float> values = make_inputs(random, 3 * width, kind);
            const std::vector<float> scale = make_inputs(random, shape.group), bias = make_inputs(random, shape.group);
            const WeightVector of_bias = vector_of(bias);
            const auto compare = [&](const std::string& what, const std::function<void(Ops&, Tensor)>& norm) {
                compare_verb(
                    backend,
                    [&](Ops& ops, const MakeTensor& make) {
                        const Tensor x = make(3, width, values);
                        norm(ops, x);
                        return x;
                    },
                    comparison, what + " of groups of " + std::to_string(shape.group));
            };
            compare("rms_norm", [&](Ops& ops, Tensor x) {
                ops.rms_norm_groups({0, "norm"}, x, shape.weight_groups == 0 ? nullptr : &of_weight, shape.group, 1e-6f,
                                    x);
            });
            compare("l2_norm", [&](Ops& ops, Tensor x) { ops.l2_norm({0, "norm"}, x, shape.group, 1e-6f, x); });
            compare("layer_norm", [&](Ops& ops, Tensor x) {
                ops.layer_norm({0, "norm"}, x, vector_of(scale), nullptr, 1e-5f, x);
            });
            compare("layer_norm with a bias", [&](Ops& ops, Tensor x) {
                ops.layer_norm({0, "norm"}, x, vector_of(scale), &of_bias, 1e-5f, x);
            });
        }
    }
    comparison.print("CUDA norms");
    EXPECT_GT(comparison.compared(), 100'000);
}

TEST(CudaElements, RoutersOfEverySpecEqualTheLawWithTiesAndBiases) {
    std::mt19937 random(35);
    Comparison comparison;
    using Scoring = RouteSpec::Scoring;
    using GroupScore = RouteSpec::GroupScore;
    struct Router {
        int experts;
        RouteSpec spec;
        bool bias, factors;
    };
    const Router routers[] = {
        {40, {.experts_per_row = 4, .renormalise = false}, false, false},
        {32, {.experts_per_row = 4, .scoring = Scoring::softmax_of_chosen}, false, false},
        {300, {.experts_per_row = 260, .scoring = Scoring::softmax_of_chosen}, true, true},
        {16, {.experts_per_row = 1, .renormalise = false, .scoring = Scoring::sigmoid_of_chosen}, false, false},
        {130, {.experts_per_row = 5, .scoring = Scoring::sigmoid_of_chosen}, true, true},
        {128, {.experts_per_row = 8, .scoring = Scoring::sigmoid, .sum_floor = 1e-20f, .factor = 2.5f}, true, false},
        {256,
         {.experts_per_row = 8,
          .scoring = Scoring::sigmoid,
          .groups = 8,
          .groups_used = 4,
          .group_score = GroupScore::sum_of_best_two,
          .sum_floor = 1e-20f,
          .factor = 2.5f},
         true,
         false},
        {160,
         {.experts_per_row = 6, .renormalise = false, .groups = 8, .groups_used = 3, .factor = 16.0f},
         false,
         false},
        {12, {.experts_per_row = 4, .groups = 3, .groups_used = 1}, false, true},  // none is left out of a group
        {12, {.experts_per_row = 6, .groups = 3, .groups_used = 1}, true, true},   // more than can be chosen
        {7,
         {.experts_per_row = 7, .groups = 7, .groups_used = 7, .group_score = GroupScore::sum_of_best_two},
         false,
         true},
    };
    constexpr int64_t kRows = 5;
    for (const Router& router : routers) {
        const DeviceBackend backend = DeviceBackend::make(0);
        std::vector<float> logits = make_inputs(random, kRows * router.experts);
        for (size_t i = 0; i < logits.size(); i += 3) logits[i] = 0.75f;                 // ties
        for (size_t i = 1; i < logits.size(); i += 7) logits[i] = i % 2 ? 0.0f : -0.0f;  // both zeros rank alike
        const std::vector<float> bias = make_inputs(random, router.experts),
                                 factors = make_inputs(random, router.experts);
        const WeightVector of_bias = vector_of(bias), of_factors = vector_of(factors);
        const int k = router.spec.experts_per_row;
        const auto chosen = [&](Ops& ops, const MakeTensor& make) {
            const ExpertSlots slots = ops.scratch_slots(kRows, k);
            ops.route({0, "routing"}, router.spec, make(kRows, router.experts, logits), slots,
                      router.bias ? &of_bias : nullptr, router.factors ? &of_factors : nullptr);
            return slots;
        };
        ReferenceOps reference;
        const ExpertSlots expected =
            chosen(reference, [&](int64_t rows, int64_t width, const std::vector<float>& values) {
                return make_tensor(reference, rows, width, values);
            });
        backend.ops->begin_pass();
        const ExpertSlots there =
            chosen(*backend.ops, [&](int64_t rows, int64_t width, const std::vector<float>& values) {
                return backend.tensor(rows, width, values);
            });
        const auto read = [&](const auto* from, int64_t count) {
            std::vector<std::remove_cvref_t<decltype(*from)>> values(static_cast<size_t>(count));
            EXPECT_TRUE(backend.device->download(values.data(), reinterpret_cast<const std::byte*>(from), count * 4));
            return values;
        };
        const int64_t differed = comparison.differ();
        comparison.add_exact(expected.experts, read(there.experts, kRows * k).data(), kRows * k);
        comparison.add(expected.weights, read(there.weights, kRows * k).data(), kRows * k);
        comparison.add(expected.margins, read(there.margins, kRows).data(), kRows);
        EXPECT_EQ(comparison.differ(), differed) << router.experts << " experts, " << k << " chosen";
        EXPECT_TRUE(same_failure(reference.failure(), backend.ops->failure())) << router.experts;
        EXPECT_TRUE(backend.ops->finish().has_value());
    }
    comparison.print("CUDA routers");
    EXPECT_GT(comparison.compared(), 3'000);
}

TEST(CudaElements, BiasesOfExpertsAndProductsOfHeadsEqualTheReference) {
    std::mt19937 random(36);
    Comparison comparison;
    for (const FormatId format : {FormatId::bf16, FormatId::q8_0, FormatId::f32}) {
        for (const int64_t rows : {1, 7, 40}) {
            const DeviceBackend backend = DeviceBackend::make(0);
            constexpr int64_t kHeads = 3, kIn = 256, kOut = 20;
            OwnedStack heads = make_stack(random, format, StoredForm::as_stored, kHeads, kOut, kIn);
            give_scales(heads, random);
            const std::vector<float> x = make_inputs(random, rows * kHeads * (kIn + 5), Inputs::hard);
            const std::vector<float> bias = make_inputs(random, 4 * kOut);
            const std::vector<float> logits = make_inputs(random, rows * 4);
            compare_verb(
                backend,
                [&](Ops& ops, const MakeTensor& make) {
                    const Tensor wide = ops.scratch(rows, kHeads * (kOut + 3)), in = make(rows, kHeads * (kIn + 5), x);
                    const Tensor out = wide.pieces(kHeads).columns(2, kOut);
                    ops.head_linear({0, "heads"}, heads.view, in.pieces(kHeads).columns(5, kIn), out);
                    const ExpertSlots slots = ops.scratch_slots(rows, kHeads);
                    ops.route({0, "routing"}, {.experts_per_row = kHeads}, make(rows, 4, logits), slots);
                    ops.add_slot_bias({0, "biased"}, slots, out, vector_of(bias));
                    const Tensor result = ops.scratch(rows * kHeads, kOut);
                    ops.copy({0, "copied"}, out, result);
                    return result;
                },
                comparison, std::to_string(rows) + " rows");
        }
    }
    comparison.print("CUDA products of heads, biases of experts");
    EXPECT_GT(comparison.compared(), 5'000);
}

}  // namespace
}  // namespace invar
