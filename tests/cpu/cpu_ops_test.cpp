// Every verb of CpuOps, on every tier and at several thread counts, against the plain loops of ReferenceOps: bits, and
// the place of the first non-finite number. Attention and whole passes: cpu_ops_attention_test.cpp,
// cpu_ops_pass_test.cpp.
#include "cpu/cpu_ops.h"

#include <gtest/gtest.h>

#include "cpu/linear.h"
#include "verb_case.h"

namespace invar {
namespace {

constexpr Stage kStage{.layer = 3, .name = "tested"};

TEST(CpuOps, ElementwiseVerbsEqualTheLawAtEveryThreadCount) {
    std::mt19937 random(31);
    Comparison comparison;
    for (const int64_t rows : {1, 2, 7, 33}) {
        for (const int64_t width : {1, 64, 1023, 1024, 1025, 5000}) {
            const auto x = make_inputs(random, rows * width, Inputs::hard),
                       y = make_inputs(random, rows * width, Inputs::hard);
            const auto bias = make_inputs(random, width);
            compare_on_all(
                [&](Ops& ops) {
                    const Tensor sum = make_tensor(ops, rows, width, x), other = make_tensor(ops, rows, width, y);
                    ops.add(kStage, sum, other);
                    const Tensor biased = make_tensor(ops, rows, width, y);
                    ops.add_bias(kStage, biased, {.id = {}, .data = bias.data(), .size = width});
                    const Tensor activated = make_tensor(ops, rows, width, x);
                    ops.activate(kStage, {}, activated, other, activated);
                    const Tensor gathered = ops.scratch(3, width);
                    const int32_t wanted[3] = {static_cast<int32_t>(rows - 1), 0, static_cast<int32_t>(rows / 2)};
                    ops.gather_rows(kStage, other, wanted, gathered);
                    return std::vector<Tensor>{sum, biased, activated, gathered};
                },
                comparison);
        }
    }
    comparison.print("elementwise verbs");
}

TEST(CpuOps, NormsOfRowsAndOfHeadsEqualTheLaw) {
    std::mt19937 random(32);
    Comparison comparison;
    for (const int64_t rows : {1, 5, 40}) {
        for (const auto& [width, size] :
             {std::pair<int64_t, int64_t>{2560, 2560}, {1024, 128}, {320, 80}, {7, 7}, {4096, 64}}) {
            const auto x = make_inputs(random, rows * width, Inputs::hard), weight = make_inputs(random, size);
            compare_on_all(
                [&, width = width, size = size](Ops& ops) {
                    const Tensor in = make_tensor(ops, rows, width, x), out = ops.scratch(rows, width);
                    const WeightVector vector{.id = {}, .data = weight.data(), .size = size};
                    ops.rms_norm(kStage, in, vector, 1e-6f, out);
                    ops.rms_norm(kStage, in, vector, 1e-5f, in);
                    return std::vector<Tensor>{out, in};
                },
                comparison);
        }
    }
    comparison.print("rms_norm");
}

TEST(CpuOps, RopeTurnsEveryHeadAtItsRowsPosition) {
    std::mt19937 random(33);
    Comparison comparison;
    for (const RopePairing pairing : {RopePairing::halves, RopePairing::adjacent}) {
        for (const int head_width : {64, 80, 128}) {
            RopeSpec spec;
            spec.pairing = pairing;
            spec.rotary_width = head_width == 80 ? 40 : head_width;
            spec.head_width = head_width;
            spec.base = 1e6;
            const RopeTable table(spec);
            spec.base = 1e4;
            const RopeTable other_table(spec);
            for (const int64_t rows : {1, 3, 70}) {
                Batch batch = rows_of(0, 61, rows), later = rows_of(0, 900, rows);
                const auto x = make_inputs(random, rows * head_width * 4),
                           y = make_inputs(random, rows * head_width * 2);
                compare_on_all(
                    [&](Ops& ops) {
                        const Tensor queries = make_tensor(ops, rows, head_width * 4, x),
                                     keys = make_tensor(ops, rows, head_width * 2, y);
                        ops.rope(kStage, table, batch, queries);
                        ops.rope(kStage, table, batch, keys);        // the remembered angles
                        ops.rope(kStage, other_table, batch, keys);  // another table
                        ops.rope(kStage, table, later, keys);        // other positions
                        ops.rope(kStage, table, batch, keys);
                        return std::vector<Tensor>{queries, keys};
                    },
                    comparison);
            }
        }
    }
    comparison.print("rope");
}

TEST(CpuOps, EmbeddingDecodesTheRowOfATokenOrAPositionOrTheFirstInEveryFormatAndForm) {
    std::mt19937 random(34);
    Comparison comparison;
    int tables = 0;
    for (const Format* format_of : formats()) {
        for (const StoredForm form : {StoredForm::as_stored, StoredForm::rows4}) {
            const int64_t columns = 512, rows = 37;
            OwnedMatrix table = make_matrix(random, format_of->id, form, rows, columns);
            std::vector<float> row_scales(static_cast<size_t>(rows), 0.7f);
            row_scales[3] = 1.9f;
            if (tables++ % 2 == 0) table.view.scale = 0.3f;
            if (tables % 3 == 0) table.view.row_scales = row_scales.data();
            Batch batch;
            for (int i = 0; i < 20; ++i)
                batch.rows.push_back(
                    {.token = static_cast<int32_t>(random() % rows), .sequence = 0, .position = rows - 20 + i});
            for (const TableRow row : {TableRow::token, TableRow::position, TableRow::first}) {
                compare_on_all(
                    [&](Ops& ops) {
                        const Tensor out = ops.scratch(batch.size(), columns);
                        ops.embed(kStage, table.view, batch, out, row);
                        return std::vector<Tensor>{out};
                    },
                    comparison);
            }
        }
    }
    comparison.print("embed");
}

TEST(CpuOps, ProductsOfSeveralMatricesEqualTheLaw) {
    std::mt19937 random(35);
    Comparison comparison;
    using enum FormatId;
    const std::vector<std::vector<std::pair<FormatId, StoredForm>>> mixes = {
        {{q4_k, StoredForm::rows4}, {q4_k, StoredForm::rows4}, {q6_k, StoredForm::rows4}},
        {{q8_0, StoredForm::rows4}, {f32, StoredForm::rows4}, {f16, StoredForm::as_stored}},
        {{nvfp4, StoredForm::rows4}, {nvfp4, StoredForm::as_stored}, {q5_0, StoredForm::as_stored}},
        {{bf16, StoredForm::rows4}, {mxfp4, StoredForm::rows4}}};
    for (const auto& mix : mixes) {
        for (const int64_t tokens : {1, 2, 9, 40}) {
            const int64_t columns = 512;
            std::vector<OwnedMatrix> weights;
            std::vector<std::vector<float>> row_scales;
            int64_t rows = 5;
            for (const auto& [id, form] : mix) {
                weights.push_back(make_matrix(random, id, form, rows, columns));
                if (id == nvfp4 || id == f32) weights.back().view.scale = 0.37f;
                row_scales.emplace_back(static_cast<size_t>(rows), 0.6f);
                row_scales.back()[1] = 1.7f;
                if (tokens % 2 != 0) weights.back().view.row_scales = row_scales.back().data();
                rows = rows * 9 + 3;
            }
            const auto x = make_inputs(random, tokens * columns);
            compare_on_all(
                [&](Ops& ops) {
                    const Tensor in = make_tensor(ops, tokens, columns, x);
                    std::vector<Tensor> outs;
                    std::vector<LinearJob> jobs;
                    for (const OwnedMatrix& weight : weights) {
                        outs.push_back(ops.scratch(tokens, weight.view.rows));
                        jobs.push_back({.stage = kStage, .weight = &weight.view, .out = outs.back()});
                    }
                    ops.linear_many(jobs, in);
                    outs.push_back(ops.scratch(tokens, weights[1].view.rows));
                    ops.linear(kStage, weights[1].view, in, outs.back());
                    return outs;
                },
                comparison);
        }
    }
    comparison.print("linear and linear_many");
}

// x as a part of the columns of a wider tensor, y too: rows are not contiguous.
TEST(CpuOps, VerbsAcceptColumnsOfAWiderTensor) {
    std::mt19937 random(36);
    Comparison comparison;
    const OwnedMatrix weight = make_matrix(random, FormatId::f32, StoredForm::as_stored, 24, 96);
    const auto x = make_inputs(random, 6 * 200);
    compare_on_all(
        [&](Ops& ops) {
            const Tensor wide = make_tensor(ops, 6, 200, x), out = ops.scratch(6, 50);
            std::fill_n(out.host(), 300, 0.0f);
            ops.linear(kStage, weight.view, wide.columns(40, 96), out.columns(9, 24));
            ops.add(kStage, wide.columns(10, 24), out.columns(9, 24));
            ops.activate(kStage, {}, wide.columns(10, 24), wide.columns(100, 24), out.columns(20, 24));
            return std::vector<Tensor>{wide, out};
        },
        comparison);
    comparison.print("columns of wider tensors");
}

// ---- experts

ExpertSlots copy_slots(Ops& ops, int64_t rows, int k, const std::vector<int32_t>& experts,
                       const std::vector<float>& weights) {
    const ExpertSlots slots = ops.scratch_slots(rows, k);
    std::copy(experts.begin(), experts.end(), slots.experts);
    std::copy(weights.begin(), weights.end(), slots.weights);
    return slots;
}

TEST(CpuOps, RoutingEqualsTheLawAndBreaksTiesByIndex) {
    std::mt19937 random(37);
    Comparison comparison;
    Comparison choices;
    for (const int64_t experts : {1, 4, 60, 128, 257}) {
        for (const int k : {1, 2, 8}) {
            if (k > experts) continue;
            for (const int64_t rows : {1, 2, 50}) {
                auto logits = make_inputs(random, rows * experts);
                for (size_t i = 0; i < logits.size(); i += 3) logits[i] = std::round(logits[i]);  // ties
                for (const bool renormalise : {true, false}) {
                    ReferenceOps reference;
                    const ExpertSlots expected = reference.scratch_slots(rows, k);
                    reference.route(kStage, {.experts_per_row = k, .renormalise = renormalise},
                                    make_tensor(reference, rows, experts, logits), expected);
                    for (Backend& backend : all_backends()) {
                        backend.ops->begin_pass();
                        const ExpertSlots actual = backend.ops->scratch_slots(rows, k);
                        backend.ops->route(kStage, {.experts_per_row = k, .renormalise = renormalise},
                                           make_tensor(*backend.ops, rows, experts, logits), actual);
                        choices.add_exact(expected.experts, actual.experts, rows * k);
                        comparison.add(expected.weights, actual.weights, rows * k);
                        comparison.add(expected.margins, actual.margins, rows);
                    }
                }
            }
        }
    }
    EXPECT_EQ(choices.differ(), 0);
    EXPECT_EQ(comparison.differ(), 0);
    choices.print("chosen experts");
    comparison.print("their weights and margins");
}

TEST(CpuOps, ExpertsEqualTheLawHoweverSkewedTheRouting) {
    std::mt19937 random(38);
    Comparison comparison;
    const int64_t experts = 6, width = 256, hidden = 68;
    for (const auto& [id, form] : {std::pair{FormatId::q4_k, StoredForm::rows4},
                                   {FormatId::q8_0, StoredForm::as_stored},
                                   {FormatId::f16, StoredForm::rows4}}) {
        OwnedStack gate = make_stack(random, id, form, experts, hidden, width);
        give_scales(gate, random);
        const OwnedStack up = make_stack(random, FormatId::q6_k, StoredForm::rows4, experts, hidden + 20, width);
        const OwnedStack down = make_stack(random, FormatId::f32, StoredForm::rows4, experts, width, hidden);
        for (const int64_t rows : {1, 2, 30, 160}) {
            if (rows == 160 && id != FormatId::q4_k) continue;
            for (int skew = 0; skew < 4; ++skew) {
                const int k = 2;
                std::vector<int32_t> chosen(static_cast<size_t>(rows * k));
                for (size_t i = 0; i < chosen.size(); i += 2) {
                    const int32_t any = static_cast<int32_t>(random() % experts);
                    chosen[i] = skew == 0 ? any : skew == 1 ? 4 : skew == 2 ? 0 : static_cast<int32_t>(i / 2 % 2) * 5;
                    chosen[i + 1] =
                        (chosen[i] + 1 + (skew == 0 ? static_cast<int32_t>(random() % (experts - 1)) : 0)) % experts;
                }
                const auto weights = make_inputs(random, rows * k);
                const auto x = make_inputs(random, rows * width);
                compare_on_all(
                    [&](Ops& ops) {
                        const ExpertSlots slots = copy_slots(ops, rows, k, chosen, weights);
                        const Tensor in = make_tensor(ops, rows, width, x);
                        const Tensor gated = ops.scratch(rows * k, hidden), upped = ops.scratch(rows * k, hidden + 20);
                        ops.expert_linear_pair(kStage, gate.view, gated, kStage, up.view, upped, slots,
                                               SlotInput::row_of_slot, in);
                        const Tensor out = ops.scratch(rows * k, width), sum = ops.scratch(rows, width);
                        ops.expert_linear(kStage, down.view, slots, SlotInput::slot, gated, out);
                        ops.combine_experts(kStage, slots, out, sum);
                        const Tensor weighed = ops.scratch(rows * k, width), plain = ops.scratch(rows, width);
                        ops.weigh_slots(kStage, slots, in, weighed);
                        ops.combine_experts(kStage, slots, weighed, plain, true);
                        return std::vector<Tensor>{gated, upped, out, sum, weighed, plain};
                    },
                    comparison);
            }
        }
    }
    EXPECT_EQ(comparison.differ(), 0);
    comparison.print("experts");
}

// A token's result must not depend on the tokens beside it, whatever kernel their number chooses.
TEST(CpuOps, ATokensProductsDoNotDependOnItsNeighbours) {
    std::mt19937 random(39);
    Comparison comparison;
    const OwnedMatrix weight = make_matrix(random, FormatId::q4_k, StoredForm::rows4, 100, 512);
    const OwnedStack stack = make_stack(random, FormatId::q4_k, StoredForm::rows4, 4, 100, 512);
    const auto x = make_inputs(random, 512 * 512, Inputs::hard);
    for (Backend& backend : all_backends()) {
        if (backend.isa == Isa::scalar) continue;  // one path for every number of tokens
        CpuOps& ops = *backend.ops;
        std::vector<float> alone;
        for (const int64_t tokens : {1, 2, 7, 8, 9, 31, 64, 200, 512}) {
            ops.begin_pass();
            const Tensor in = make_tensor(ops, tokens, 512, x), out = ops.scratch(tokens, 100),
                         slots_out = ops.scratch(tokens, 100);
            ops.linear(kStage, weight.view, in, out);
            const std::vector<int32_t> experts(static_cast<size_t>(tokens), 2);
            const ExpertSlots slots = copy_slots(ops, tokens, 1, experts, std::vector<float>(experts.size(), 1.0f));
            ops.expert_linear(kStage, stack.view, slots, SlotInput::row_of_slot, in, slots_out);
            if (tokens == 1)
                alone.assign(out.host_row(0), out.host_row(0) + 100),
                    alone.insert(alone.end(), slots_out.host_row(0), slots_out.host_row(0) + 100);
            comparison.add(alone.data(), out.host_row(0), 100);
            comparison.add(alone.data() + 100, slots_out.host_row(0), 100);
        }
    }
    EXPECT_EQ(comparison.differ(), 0);
    comparison.print("a token among 1 to 512");
}

// ---- the first non-finite number

struct InjectionWeights {
    OwnedMatrix weight, other;
    std::vector<float> vector;
};

// A verb, or a few in a row, that read `bad` (which has non-finite numbers) and `fine`.
using Injection = std::function<void(Ops&, Tensor bad, Tensor fine)>;
std::vector<Injection> injections(const InjectionWeights& w) {
    const WeightMatrix &weight = w.weight.view, &other = w.other.view;
    const WeightVector bias{.id = {}, .data = w.vector.data(), .size = 256},
        head_norm{.id = {}, .data = w.vector.data(), .size = 64};
    return {
        [](Ops& ops, Tensor bad, Tensor fine) {
            ops.add({1, "sum"}, fine, bad);
        },
        [](Ops& ops, Tensor bad, Tensor fine) {
            ops.activate({2, "gate"}, {}, fine, bad, fine);
        },
        [=](Ops& ops, Tensor bad, Tensor fine) {
            ops.rms_norm({3, "norm"}, bad, head_norm, 1e-6f, fine);
        },
        [=](Ops& ops, Tensor bad, Tensor) {
            ops.add_bias({4, "bias"}, bad, bias);
        },
        [=](Ops& ops, Tensor bad, Tensor) {
            ops.linear({5, "product"}, weight, bad, ops.scratch(bad.rows(), 300));
        },
        [=](Ops& ops, Tensor bad, Tensor) {
            const LinearJob jobs[2] = {{{6, "first"}, &other, ops.scratch(bad.rows(), 64)},
                                       {{7, "second"}, &weight, ops.scratch(bad.rows(), 300)}};
            ops.linear_many(jobs, bad);
        },
        [=](Ops& ops, Tensor bad, Tensor fine) {
            ops.linear({8, "fine"}, weight, fine, ops.scratch(bad.rows(), 300));
            ops.add({9, "then"}, fine, bad);
            ops.add({10, "later"}, fine, fine);
        },
        [](Ops& ops, Tensor bad, Tensor) {
            ops.route({11, "routing"}, {.experts_per_row = 2}, bad, ops.scratch_slots(bad.rows(), 2));
        },
        [](Ops& ops, Tensor bad, Tensor fine) {
            const ExpertSlots slots = ops.scratch_slots(bad.rows(), 1);
            std::fill_n(slots.weights, bad.rows(), 0.5f);
            ops.combine_experts({12, "mixture"}, slots, bad, fine);
        },
    };
}

TEST(CpuOps, TheFirstNonFiniteNumberIsFoundAtItsVerbRowAndElement) {
    std::mt19937 random(40);
    int64_t found = 0;
    const InjectionWeights weights{.weight = make_matrix(random, FormatId::q8_0, StoredForm::rows4, 300, 256),
                                   .other = make_matrix(random, FormatId::f32, StoredForm::rows4, 64, 256),
                                   .vector = make_inputs(random, 256)};
    for (int round = 0; round < 30; ++round) {
        const int64_t rows = round % 3 == 0 ? 1 : 20, width = 256;
        auto x = make_inputs(random, rows * width);
        // Several bad numbers; which is first depends on the verb.
        for (int i = 0; i < 3; ++i) x[random() % x.size()] = i % 2 == 0 ? NAN : INFINITY;
        const auto good = make_inputs(random, rows * width);
        for (const Injection& verb : injections(weights)) {
            ReferenceOps reference;
            verb(reference, make_tensor(reference, rows, width, x), make_tensor(reference, rows, width, good));
            ASSERT_TRUE(reference.failure().has_value());
            for (Backend& backend : all_backends()) {
                CpuOps& ops = *backend.ops;
                ops.begin_pass();
                EXPECT_FALSE(ops.failure().has_value());
                verb(ops, make_tensor(ops, rows, width, x), make_tensor(ops, rows, width, good));
                EXPECT_TRUE(same_failure(reference.failure(), ops.failure()))
                    << backend.name() << " " << reference.failure()->stage.name << " row " << reference.failure()->row
                    << " element " << reference.failure()->element;
                ++found;
            }
        }
    }
    printf("[non-finite] %lld injections located alike\n", static_cast<long long>(found));
}

// ---- scratch and reports

TEST(CpuOps, AMeasuringPassTakesWhatARealOneTakes) {
    std::mt19937 random(41);
    const OwnedStack stack = make_stack(random, FormatId::q4_k, StoredForm::rows4, 8, 64, 256);
    const OwnedMatrix matrix = make_matrix(random, FormatId::q6_k, StoredForm::rows4, 64, 256);
    WeightStack shape = stack.view;
    shape.first.data = nullptr;
    WeightMatrix matrix_shape = matrix.view;
    matrix_shape.data = nullptr;
    const auto pass = [](Ops& ops, const WeightStack& experts, const WeightMatrix& weight, int64_t rows, bool write) {
        const Tensor x = ops.scratch(rows, 256), out = ops.scratch(rows * 2, 64), logits = ops.scratch(rows, 8);
        const ExpertSlots slots = ops.scratch_slots(rows, 2);
        if (write) std::fill_n(x.host(), rows * 256, 1.0f), std::fill_n(logits.host(), rows * 8, 0.5f);
        ops.linear(kStage, weight, x, out.row_range(0, rows));
        ops.route(kStage, {.experts_per_row = 2}, logits, slots);
        ops.expert_linear(kStage, experts, slots, SlotInput::row_of_slot, x, out);
    };
    for (const Isa isa : supported_isas()) {
        for (const int threads : {1, 4}) {
            const Backend measuring = make_backend(isa, threads, 0, true);
            for (const int64_t rows : {1, 64}) {
                measuring.ops->begin_pass();
                pass(*measuring.ops, shape, matrix_shape, rows, false);
            }
            const Backend real = make_backend(isa, threads, measuring.ops->scratch_peak());
            for (const int64_t rows : {64, 1, 5, 33}) {
                real.ops->begin_pass();
                pass(*real.ops, stack.view, matrix.view, rows, true);
                EXPECT_FALSE(real.ops->failure().has_value());
            }
            EXPECT_LE(real.ops->scratch_peak(), measuring.ops->scratch_peak());
            printf("[scratch] %s: planned %lld bytes, used %lld\n", real.name().c_str(),
                   static_cast<long long>(measuring.ops->scratch_peak()),
                   static_cast<long long>(real.ops->scratch_peak()));
        }
    }
}

TEST(CpuOpsDeathTest, MoreScratchThanPlannedIsABug) {
    const Backend backend = make_backend(Isa::scalar, 1, 4096);
    backend.ops->scratch(10, 64);
    EXPECT_DEATH(backend.ops->scratch(10, 64), "the plan sized the scratch memory");
}

TEST(CpuOps, ReportsTheKernelsThatRanAndRefusesAnUnknownOne) {
    std::mt19937 random(42);
    const OwnedMatrix weight = make_matrix(random, FormatId::q4_k, StoredForm::rows4, 64, 256);
    const Backend backend = make_backend(supported_isas().back(), 2);
    for (const int64_t tokens : {1, 1, 32}) {
        const Tensor x = make_tensor(*backend.ops, tokens, 256, make_inputs(random, tokens * 256));
        backend.ops->linear(kStage, weight.view, x, backend.ops->scratch(tokens, 64));
    }
    const auto used = backend.ops->kernels_used();
    ASSERT_EQ(used.size(), 2u);
    EXPECT_EQ(used[0].verb, "linear");
    EXPECT_EQ(used[0].format, "q4_k");
    EXPECT_EQ(shape_class_name(used[0].shape), "1 token");
    EXPECT_EQ(shape_class_name(used[1].shape), "more than 8 tokens");
    EXPECT_EQ(used[0].kernel,
              choose_linear_kernel(
                  {.format = FormatId::q4_k, .form = StoredForm::rows4, .rows = 64, .columns = 256, .tokens = 1},
                  backend.isa, "")
                  .name);

    const Backend forced = make_backend(supported_isas().back(), 1, 1 << 20, false, "scalar");
    const Tensor x = make_tensor(*forced.ops, 1, 256, make_inputs(random, 256));
    forced.ops->linear(kStage, weight.view, x, forced.ops->scratch(1, 64));
    ASSERT_EQ(forced.ops->kernels_used().size(), 1u);
    EXPECT_EQ(forced.ops->kernels_used()[0].kernel, "scalar");

    const auto refused = CpuOps::create(
        {.pool = *backend.pool, .highest = Isa::scalar, .forced_linear = "fastest", .scratch_bytes = 64});
    ASSERT_FALSE(refused.has_value());
    EXPECT_NE(refused.error().message.find("there is no linear kernel 'fastest'"), std::string::npos);
    const auto too_large = CpuOps::create(
        {.pool = *backend.pool, .highest = Isa::scalar, .forced_linear = "", .scratch_bytes = int64_t{1} << 50});
    ASSERT_FALSE(too_large.has_value());
    EXPECT_NE(too_large.error().message.find("no memory for"), std::string::npos);
}

}  // namespace
}  // namespace invar
