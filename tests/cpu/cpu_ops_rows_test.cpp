// The verbs that gated, scaled and routed layers use, in every form they have, on every tier and at several thread
// counts, against the plain loops of ReferenceOps: bits, views with strides, and the place of the first non-finite
// number. The verbs of plain layers: cpu_ops_test.cpp.
#include <gtest/gtest.h>

#include "verb_case.h"

namespace invar {
namespace {

constexpr Stage kStage{.layer = 5, .name = "tested"};
const ActivationSpec kActivations[] = {{.kind = Activation::silu},    {.kind = Activation::gelu_tanh},
                                       {.kind = Activation::gelu},    {.kind = Activation::relu_squared},
                                       {.kind = Activation::sigmoid}, {Activation::clamped_swiglu, 1.702f, 1.25f},
                                       {.kind = Activation::identity}};

WeightVector vector_of(const std::vector<float>& values) {
    return {.id = {}, .data = values.data(), .size = std::ssize(values)};
}

// `width` columns of a wider tensor.
Tensor make_columns(Ops& ops, int64_t rows, int64_t width, const std::vector<float>& values) {
    const Tensor wide = ops.scratch(rows, width + 11);
    std::fill_n(wide.host(), rows * (width + 11), 0.5f);
    const Tensor columns = wide.columns(7, width);
    fill(columns, values);
    return columns;
}

TEST(CpuOpsRows, ActivationsWithAndWithoutASecondOperandEqualTheLaw) {
    std::mt19937 random(91);
    Comparison comparison;
    for (const int64_t rows : {1, 6}) {
        for (const int64_t width : {1, 48, 1025, 3000}) {
            const auto x = make_inputs(random, rows * width, Inputs::hard),
                       y = make_inputs(random, rows * width, Inputs::hard);
            compare_on_all(
                [&](Ops& ops) {
                    std::vector<Tensor> made;
                    const Tensor gate = make_columns(ops, rows, width, x), up = make_columns(ops, rows, width, y);
                    for (const ActivationSpec& spec : kActivations) {
                        made.push_back(ops.scratch(rows, width));
                        ops.activate(kStage, spec, gate, up, made.back());
                        if (spec.kind == Activation::clamped_swiglu) continue;
                        made.push_back(make_columns(ops, rows, width, x));
                        ops.activate(kStage, spec, made.back(), {}, made.back());
                    }
                    return made;
                },
                comparison);
        }
    }
    comparison.print("activate");
}

TEST(CpuOpsRows, ScalesCapsGatesAndCopiesEqualTheLaw) {
    std::mt19937 random(92);
    Comparison comparison;
    for (const int64_t rows : {1, 9}) {
        for (const int64_t width : {6, 96, 3072}) {
            const auto x = make_inputs(random, rows * width, Inputs::hard), gates = make_inputs(random, rows * 5),
                       whole = make_inputs(random, width), third = make_inputs(random, width / 3),
                       one = make_inputs(random, 1);
            const Batch batch = rows_of(0, 8190, rows);
            compare_on_all(
                [&](Ops& ops) {
                    std::vector<Tensor> made;
                    const auto next = [&] {
                        made.push_back(made.size() % 2 == 0 ? make_columns(ops, rows, width, x)
                                                            : make_tensor(ops, rows, width, x));
                        return made.back();
                    };
                    ops.scale(kStage, next(), 45.25f);
                    ops.scale_by_position(kStage, {.beta = 0.1, .length = 4096}, batch, next());
                    ops.scale_by_position(kStage, {.beta = 0.1, .length = 8192, .offset = 1}, batch,
                                          next());  // from the third row on
                    for (const auto* weight : {&whole, &third, &one}) ops.multiply(kStage, next(), vector_of(*weight));
                    ops.softcap(kStage, next(), 30.0f);
                    ops.gate_rows(kStage, next(), make_tensor(ops, rows, 5, gates).columns(2, 1));
                    const Tensor source = next();
                    ops.copy(kStage, source, next());
                    return made;
                },
                comparison);
        }
    }
    comparison.print("scale, scale_by_position, multiply, softcap, gate_rows, copy");
}

TEST(CpuOpsRows, NormsOfGroupsWithAnyWeightEqualTheLaw) {
    std::mt19937 random(93);
    Comparison comparison;
    for (const int64_t rows : {1, 5}) {
        for (const auto& [width, group] :
             {std::pair<int64_t, int64_t>{12, 3}, {1024, 128}, {4096, 512}, {320, 320}, {5120, 256}}) {
            const auto x = make_inputs(random, rows * width, Inputs::hard), of_group = make_inputs(random, group),
                       of_row = make_inputs(random, width), bias = make_inputs(random, group);
            compare_on_all(
                [&, width = width, group = group](Ops& ops) {
                    const Tensor in = make_columns(ops, rows, width, x);
                    std::vector<Tensor> made;
                    const auto next = [&] { return made.emplace_back(ops.scratch(rows, width)); };
                    const WeightVector small = vector_of(of_group), large = vector_of(of_row), added = vector_of(bias);
                    ops.rms_norm_groups(kStage, in, &small, group, 1e-6f, next());
                    ops.rms_norm_groups(kStage, in, &large, group, 1e-6f, next());
                    ops.rms_norm_groups(kStage, in, nullptr, group, 1e-6f, next());
                    ops.l2_norm(kStage, in, group, 1e-6f, next());
                    ops.layer_norm(kStage, in, small, &added, 1e-5f, next());
                    ops.layer_norm(kStage, in, small, nullptr, 1e-5f, next());
                    ops.l2_norm(kStage, in, group, 1e-6f, in);
                    made.push_back(in);
                    return made;
                },
                comparison);
        }
    }
    comparison.print("norms of groups");
}

// Heads as rows of their own, pairs that do not turn, and a rope of the last columns of each head only.
TEST(CpuOpsRows, RopeTurnsSeveralRowsOfAToken) {
    std::mt19937 random(94);
    Comparison comparison;
    for (const RopePairing pairing : {RopePairing::halves, RopePairing::adjacent}) {
        for (const int64_t rows : {1, 21}) {
            RopeSpec spec;
            spec.pairing = pairing;
            spec.rotary_width = spec.head_width = 32;
            spec.base = 1e4;
            const RopeTable all(spec);
            spec.turning_pairs = 5;
            const RopeTable some(spec);
            spec.turning_pairs = 0;
            spec.scaling = RopeSpec::Scaling::yarn;
            spec.factor = 32, spec.original_context = 4096, spec.whole_boundaries = false;
            const RopeTable yarn(spec);
            const Batch batch = rows_of(0, 777, rows);
            const auto x = make_inputs(random, rows * 6 * 48);
            compare_on_all(
                [&](Ops& ops) {
                    std::vector<Tensor> made;
                    for (const RopeTable* table : {&all, &some, &yarn}) {
                        made.push_back(make_tensor(ops, rows, 6 * 48, x));
                        ops.rope(kStage, *table, batch, made.back().pieces(6).columns(16, 32));
                    }
                    return made;
                },
                comparison);
        }
    }
    comparison.print("rope of pieces");
}

TEST(CpuOpsRows, HeadsMultiplyByTheirOwnMatrices) {
    std::mt19937 random(95);
    Comparison comparison;
    for (const FormatId id : {FormatId::q8_0, FormatId::bf16, FormatId::f32}) {
        for (const StoredForm form : {StoredForm::as_stored, StoredForm::rows4}) {
            const OwnedStack heads = make_stack(random, id, form, 5, 36, 64);
            for (const int64_t tokens : {1, 4, 40}) {
                const auto x = make_inputs(random, tokens * 5 * 96);
                compare_on_all(
                    [&](Ops& ops) {
                        const Tensor in = make_tensor(ops, tokens, 5 * 96, x).pieces(5).columns(32, 64);
                        const Tensor out = ops.scratch(tokens, 5 * 36);
                        ops.head_linear(kStage, heads.view, in, out.pieces(5));
                        return std::vector<Tensor>{out};
                    },
                    comparison);
            }
        }
    }
    comparison.print("head_linear");
}

std::vector<RouteSpec> route_specs() {
    using enum RouteSpec::Scoring;
    using enum RouteSpec::GroupScore;
    return {{.experts_per_row = 2, .scoring = softmax, .factor = 1.5f},
            {.experts_per_row = 4, .renormalise = false, .scoring = softmax_of_chosen},
            {.experts_per_row = 4, .renormalise = false, .scoring = sigmoid_of_chosen},
            {.experts_per_row = 3, .scoring = sigmoid_of_chosen, .factor = 1.5f},
            {.experts_per_row = 3, .scoring = sigmoid, .sum_floor = 1e-20f, .factor = 2.5f},
            {.experts_per_row = 4, .scoring = sigmoid, .groups = 4, .groups_used = 2, .group_score = sum_of_best_two},
            {.experts_per_row = 6, .scoring = softmax, .groups = 3, .groups_used = 1, .group_score = best},
            {.experts_per_row = 5, .renormalise = false, .scoring = sigmoid, .groups = 24, .groups_used = 7}};
}

TEST(CpuOpsRows, RoutersOfEveryKindEqualTheLaw) {
    std::mt19937 random(96);
    Comparison comparison;
    const int64_t experts = 24;
    for (const RouteSpec& spec : route_specs()) {
        for (const bool has_bias : {false, true}) {
            for (const int64_t rows : {1, 40}) {
                auto logits = make_inputs(random, rows * experts), bias = make_inputs(random, experts),
                     factors = make_inputs(random, experts);
                for (size_t i = 0; i < logits.size(); i += 2) logits[i] = std::round(logits[i]);  // ties
                for (float& one : bias) one = std::round(one * 4) / 4;
                compare_on_all(
                    [&](Ops& ops) {
                        const int k = spec.experts_per_row;
                        const ExpertSlots slots = ops.scratch_slots(rows, k);
                        const WeightVector biases = vector_of(bias), scales = vector_of(factors);
                        ops.route(kStage, spec, make_columns(ops, rows, experts, logits), slots,
                                  has_bias ? &biases : nullptr, has_bias ? &scales : nullptr);
                        const Tensor ids = ops.scratch(rows, k);
                        std::copy_n(slots.experts, rows * k, ids.host());
                        return std::vector<Tensor>{ids, Tensor(slots.weights, Place::host, rows, k, k),
                                                   Tensor(slots.margins, Place::host, rows, 1, 1)};
                    },
                    comparison);
            }
        }
    }
    EXPECT_GT(comparison.compared(), 0);
    comparison.print("route of every kind");
}

TEST(CpuOpsRows, SlotsTakeTheBiasOfTheirExpert) {
    std::mt19937 random(97);
    Comparison comparison;
    const int64_t rows = 9, experts = 4, width = 1100;
    const auto x = make_inputs(random, rows * 2 * width), bias = make_inputs(random, experts * width);
    compare_on_all(
        [&](Ops& ops) {
            const ExpertSlots slots = ops.scratch_slots(rows, 2);
            for (int32_t slot = 0; slot < rows * 2; ++slot) slots.experts[slot] = slot * 3 % 4;
            const Tensor y = make_columns(ops, rows * 2, width, x);
            ops.add_slot_bias(kStage, slots, y, vector_of(bias));
            return std::vector<Tensor>{y};
        },
        comparison);
    comparison.print("add_slot_bias");
}

TEST(CpuOpsRows, TheFirstNonFiniteNumberIsFoundInEveryVerb) {
    std::mt19937 random(98);
    const int64_t rows = 12, width = 512;
    const auto weight = make_inputs(random, width);
    const OwnedStack heads = make_stack(random, FormatId::q8_0, StoredForm::rows4, 2, 40, 256);
    const Batch batch = rows_of(0, 5000, rows);
    RopeSpec spec;
    spec.rotary_width = spec.head_width = 64;
    spec.base = 1e4;
    const RopeTable table(spec);
    const std::vector<std::function<void(Ops&, Tensor, Tensor)>> verbs = {
        [](Ops& ops, Tensor bad, Tensor out) { ops.activate(kStage, kActivations[2], bad, {}, out); },
        [](Ops& ops, Tensor bad, Tensor out) { ops.activate(kStage, kActivations[5], bad, bad, out); },
        [](Ops& ops, Tensor bad, Tensor) { ops.scale(kStage, bad, 0.5f); },
        [&](Ops& ops, Tensor bad, Tensor) { ops.scale_by_position(kStage, {.beta = 0.1, .length = 64}, batch, bad); },
        [&](Ops& ops, Tensor bad, Tensor) { ops.multiply(kStage, bad, vector_of(weight)); },
        [](Ops& ops, Tensor bad, Tensor out) { ops.l2_norm(kStage, bad, 128, 1e-6f, out); },
        [&](Ops& ops, Tensor bad, Tensor out) { ops.layer_norm(kStage, bad, vector_of(weight), nullptr, 1e-6f, out); },
        [](Ops& ops, Tensor bad, Tensor out) { ops.rms_norm_groups(kStage, bad, nullptr, 64, 1e-6f, out); },
        [](Ops& ops, Tensor bad, Tensor out) { ops.gate_rows(kStage, bad, out.columns(3, 1)); },
        [](Ops& ops, Tensor bad, Tensor out) { ops.copy(kStage, bad, out); },
        [&](Ops& ops, Tensor bad, Tensor) {
            ops.head_linear(kStage, heads.view, bad.pieces(2), ops.scratch(rows * 2, 40));
        },
        [&](Ops& ops, Tensor bad, Tensor) { ops.rope(kStage, table, batch, bad.pieces(2)); },
        [](Ops& ops, Tensor bad, Tensor) {
            ops.route(kStage, {.experts_per_row = 2, .scoring = RouteSpec::Scoring::softmax_of_chosen}, bad,
                      ops.scratch_slots(bad.rows(), 2));
        }};
    int64_t found = 0;
    for (int round = 0; round < 8; ++round) {
        auto x = make_inputs(random, rows * width);
        for (int i = 0; i < 3; ++i) x[random() % x.size()] = i % 2 == 0 ? NAN : INFINITY;
        const auto fine = make_inputs(random, rows * width);
        for (const auto& verb : verbs) {
            ReferenceOps reference;
            verb(reference, make_tensor(reference, rows, width, x), make_tensor(reference, rows, width, fine));
            ASSERT_TRUE(reference.failure().has_value());
            for (Backend& backend : all_backends()) {
                backend.ops->begin_pass();
                verb(*backend.ops, make_tensor(*backend.ops, rows, width, x),
                     make_tensor(*backend.ops, rows, width, fine));
                EXPECT_TRUE(same_failure(reference.failure(), backend.ops->failure()))
                    << backend.name() << " " << reference.failure()->verb << " row " << reference.failure()->row;
                ++found;
            }
        }
    }
    printf("[non-finite] %lld injections located alike\n", static_cast<long long>(found));
}

}  // namespace
}  // namespace invar
