// The mathematics of the reference, verb by verb: products of every format in both stored forms, rope against the
// engine's tables, routing with ties, and single calls against what the engine computes.
#include "proof/reference64/float64_math.h"

#include <gtest/gtest.h>

#include <map>
#include <numeric>
#include <random>
#include <set>

#include "engine/engine_settings.h"
#include "layout/rows4.h"
#include "models/tiny_model.h"
#include "proof/record/model_runner.h"
#include "proof/reference64/float64_verb.h"

namespace invar {
namespace {

TEST(Float64Math, MultipliesWithEveryFormatInBothStoredForms) {
    constexpr int64_t kRows = 13, kColumns = 512;
    std::mt19937 random(3);
    std::normal_distribution<double> normal;
    std::vector<std::vector<double>> x(3, std::vector<double>(kColumns));
    for (auto& row : x)
        for (double& value : row) value = normal(random);
    int64_t compared = 0;
    for (const Format* format : formats()) {
        std::vector<float> values(kRows * kColumns);
        for (float& value : values) value = static_cast<float>(normal(random));
        std::vector<std::byte> stored(static_cast<size_t>(format->row_bytes(kRows * kColumns)));
        format->encode(values.data(), kRows * kColumns, nullptr, stored.data());
        if (!rows4_scales_agree(*format, stored.data(), kRows, kColumns, 0, (kRows + 3) / 4)) {
            const int64_t row_bytes = format->row_bytes(kColumns);  // packed rows share the scales, the first word
            for (int64_t at = 0; at < kRows * row_bytes; at += format->block_bytes)
                std::memcpy(stored.data() + at, stored.data() + at % row_bytes, 4);
        }
        std::vector<std::byte> packed(static_cast<size_t>(rows4_bytes(*format, kRows, kColumns)));
        for (const StoredForm form : {StoredForm::as_stored, StoredForm::rows4}) {
            if (form == StoredForm::rows4 && !has_rows4(*format)) continue;
            if (form == StoredForm::rows4)
                pack_rows4(*format, stored.data(), kRows, kColumns, 0, (kRows + 3) / 4, packed.data());
            const WeightMatrix matrix{.id = {},
                                      .format = format,
                                      .form = form,
                                      .rows = kRows,
                                      .columns = kColumns,
                                      .data = form == StoredForm::rows4 ? packed.data() : stored.data(),
                                      .bytes = 0,
                                      .scale = 0.25f};
            std::vector<std::vector<double>> y(3, std::vector<double>(kRows));
            const double* from[] = {x[0].data(), x[1].data(), x[2].data()};
            double* to[] = {y[0].data(), y[1].data(), y[2].data()};
            float64::ProductRoom room;
            float64::multiply({.matrix = matrix, .first = 0, .count = kRows, .x = from, .y = to}, room);
            for (int64_t r = 0; r < kRows; ++r) {
                for (size_t t = 0; t < 3; ++t) {
                    long double sum = 0;
                    for (int64_t k = 0; k < kColumns; ++k) {
                        const int64_t block = (r * kColumns + k) / format->block_weights;
                        const auto i = static_cast<int>((r * kColumns + k) % format->block_weights);
                        sum +=
                            static_cast<long double>(format->weight(stored.data() + block * format->block_bytes, i)) *
                            x[t][static_cast<size_t>(k)];
                    }
                    EXPECT_NEAR(y[t][static_cast<size_t>(r)], static_cast<double>(sum) / 4, 1e-12) << format->name;
                    ++compared;
                }
            }
        }
    }
    std::printf("[float64] %lld products compared\n", static_cast<long long>(compared));
    EXPECT_GT(compared, 17 * 39);
}

TEST(Float64Math, OddColumnsAndSingleTokensLoseNothing) {
    for (const int64_t columns : {1, 2, 3, 7}) {
        std::vector<float> weights(static_cast<size_t>(5 * columns));
        std::iota(weights.begin(), weights.end(), 1.0f);
        const WeightMatrix matrix{.id = {},
                                  .format = &format(FormatId::f32),
                                  .form = StoredForm::as_stored,
                                  .rows = 5,
                                  .columns = columns,
                                  .data = reinterpret_cast<const std::byte*>(weights.data()),
                                  .bytes = 0,
                                  .scale = 1};
        const std::vector<double> ones(static_cast<size_t>(columns), 1.0);
        std::vector<double> y(5, -1.0);
        const double* from = ones.data();
        double* to = y.data();
        float64::ProductRoom room;
        float64::multiply({.matrix = matrix, .first = 1, .count = 4, .x = {&from, 1}, .y = {&to, 1}}, room);
        EXPECT_EQ(y[0], -1.0);
        for (int64_t r = 1; r < 5; ++r) {
            const double first = static_cast<double>(r * columns + 1), last = static_cast<double>((r + 1) * columns);
            EXPECT_EQ(y[static_cast<size_t>(r)], (first + last) * static_cast<double>(columns) / 2);
        }
    }
}

TEST(Float64Math, RopeTurnsAsTheEnginesTablesForEveryScaling) {
    RopeSpec plain;
    plain.rotary_width = 60;
    plain.head_width = 80;
    plain.base = 500000;
    RopeSpec linear = plain;
    linear.scaling = RopeSpec::Scaling::linear;
    linear.factor = 3;
    RopeSpec yarn = plain;
    yarn.scaling = RopeSpec::Scaling::yarn;
    yarn.factor = 4;
    yarn.original_context = 512;
    yarn.attn_factor = 1.25;
    yarn.ext_factor = 0.75;
    RopeSpec factors = plain;
    factors.pairing = RopePairing::adjacent;
    for (int i = 0; i < factors.pairs(); ++i) factors.frequency_factors.push_back(1.0f + 0.1f * static_cast<float>(i));
    int64_t compared = 0;
    for (const RopeSpec& spec : {plain, linear, yarn, factors}) {
        const RopeTable table(spec);
        const float64::Rope rope(spec);
        std::vector<float> cosines(static_cast<size_t>(spec.pairs())), sines(cosines.size());
        for (const int64_t position : {0, 1, 63, 1000, 100000}) {
            table.angles(position, cosines.data(), sines.data());
            std::vector<double> heads(160);  // two heads: (1, 0) in every pair, then (0, 1)
            for (int i = 0; i < spec.pairs(); ++i) {
                const int first = spec.pairing == RopePairing::adjacent ? 2 * i : i;
                const int second = spec.pairing == RopePairing::adjacent ? 2 * i + 1 : i + spec.pairs();
                heads[static_cast<size_t>(first)] = heads[static_cast<size_t>(80 + second)] = 1;
            }
            heads[79] = 5;  // past the rotary part
            rope.turn(position, heads.data(), 160);
            EXPECT_EQ(heads[79], 5);
            for (int i = 0; i < spec.pairs(); ++i) {
                const auto first = static_cast<size_t>(spec.pairing == RopePairing::adjacent ? 2 * i : i);
                const auto second =
                    static_cast<size_t>(spec.pairing == RopePairing::adjacent ? 2 * i + 1 : i + spec.pairs());
                const double c = cosines[static_cast<size_t>(i)], s = sines[static_cast<size_t>(i)];
                EXPECT_NEAR(heads[first], c, 1e-7);
                EXPECT_NEAR(heads[second], s, 1e-7);
                EXPECT_NEAR(heads[80 + first], -s, 1e-7);
                EXPECT_NEAR(heads[80 + second], c, 1e-7);
                compared += 4;
            }
        }
    }
    std::printf("[float64] %lld turned elements compared\n", static_cast<long long>(compared));
}

TEST(Float64Math, RoutesTiesByIndexAndRanksInDoubles) {
    // 1 + 2^-40 and 1 are one binary32 number: only doubles rank expert 3 before the tie of 0 and 2.
    const std::vector<double> logits = {1, 0, 1, 1 + 0x1p-40};
    const float64::Routing chosen =
        float64::route(logits.data(), 4, {.experts_per_row = 2, .renormalise = true}, nullptr, nullptr);
    EXPECT_EQ(chosen.experts, (std::vector<int32_t>{3, 0}));
    EXPECT_NEAR(chosen.weights[0] + chosen.weights[1], 1, 1e-15);
    EXPECT_EQ(chosen.margin, 0);
    EXPECT_NEAR(chosen.probabilities[1], 1 / (1 + 3 * std::exp(1.0)), 1e-12);
    const float64::Routing raw =
        float64::route(logits.data(), 4, {.experts_per_row = 4, .renormalise = false}, nullptr, nullptr);
    EXPECT_EQ(raw.experts, (std::vector<int32_t>{3, 0, 2, 1}));
    EXPECT_EQ(raw.margin, raw.probabilities[1]);
    EXPECT_EQ(raw.weights[3], raw.probabilities[1]);
}

TEST(Float64Math, TheMeantScaleOfAHeadIsItsRoot) {
    for (const int64_t width : {64, 80, 96, 128, 576}) {
        EXPECT_EQ(float64::meant_scale(1.0f / std::sqrt(static_cast<float>(width)), width),
                  1 / std::sqrt(static_cast<double>(width)));
    }
    EXPECT_EQ(float64::meant_scale(0.1f, 64), double{0.1f});
}

// Compares every row of every call of the engine with float64_of on the same inputs.
class SingleCalls final : public VerbHook {
  public:
    void before(VerbCall& call) override {
        inputs_.insert_or_assign(std::pair(call.stage.layer, std::string(call.stage.name)), VerbInputs::copy_of(call));
    }
    void after(const VerbCall& call) override {
        const VerbInputs& inputs = inputs_.at({call.stage.layer, std::string(call.stage.name)});
        verbs_.insert(call.verb);
        if (call.verb == Verb::route || call.verb == Verb::store_kv) {
            stages(call, inputs);
            return;
        }
        for (int64_t row = 0; row < call.out.rows(); ++row) {
            const auto expected = float64_of(call, inputs, row);
            ASSERT_TRUE(expected.has_value()) << expected.error().message;
            ASSERT_EQ(static_cast<int64_t>(expected->size()), call.out.width());
            compare(call, *expected, call.out.host_row(row));
        }
        EXPECT_FALSE(float64_of(call, inputs, call.out.rows()).has_value());
    }

    int64_t values() const { return values_; }
    size_t verbs() const { return verbs_.size(); }
    double worst() const { return worst_; }

  private:
    void stages(const VerbCall& call, const VerbInputs& inputs) {
        for (int64_t row = 0; row < call.x.rows(); ++row) {
            if (call.verb == Verb::store_kv) {
                const auto all = *float64_of(call, inputs, row);
                const auto key = *float64_of_stage(call, inputs, "key_stored", row);
                const auto value = *float64_of_stage(call, inputs, "value_stored", row);
                compare(call, key, call.x.host_row(row));
                compare(call, value, call.x2.host_row(row));
                EXPECT_EQ(all.size(), key.size() + value.size());
                continue;
            }
            const int k = call.slots.experts_per_row;
            const auto ids = *float64_of_stage(call, inputs, "expert_ids", row);
            EXPECT_EQ(ids, std::vector<double>(call.slots.experts + row * k, call.slots.experts + (row + 1) * k));
            compare(call, *float64_of_stage(call, inputs, "expert_weights", row), call.slots.weights + row * k);
            // A difference of probabilities: its error is of their size, not of its own.
            EXPECT_NEAR(float64_of_stage(call, inputs, "routing_margin", row)->at(0), call.slots.margins[row], 1e-7);
            const auto probabilities = *float64_of_stage(call, inputs, "router_probabilities", row);
            EXPECT_NEAR(std::accumulate(probabilities.begin(), probabilities.end(), 0.0), 1, 1e-14);
        }
    }
    void compare(const VerbCall& call, const std::vector<double>& expected, const float* actual) {
        double size = 0, error = 0;
        for (size_t i = 0; i < expected.size(); ++i) {
            size += expected[i] * expected[i];
            error = std::max(error, std::abs(expected[i] - actual[i]));
        }
        error /= std::sqrt(size / static_cast<double>(expected.size()));
        EXPECT_LT(error, 5e-6) << call.stage.layer << " " << call.stage.name;
        worst_ = std::max(worst_, error);
        values_ += static_cast<int64_t>(expected.size());
    }

    std::map<std::pair<int, std::string>, VerbInputs> inputs_;
    std::set<Verb> verbs_;
    int64_t values_ = 0;
    double worst_ = 0;
};

TEST(Float64Verb, SupportsWhatTheEngineComputesInEveryVerb) {
    std::set<size_t> covered;
    for (const std::string architecture : {"qwen2", "qwen3moe"}) {
        const test::TinyModel model = test::tiny(architecture);
        const std::filesystem::path path = model.write("verbs_" + architecture);
        auto engine = Engine::open({.model = path, .threads = 1, .cache_type = CacheType::f32}, {});
        std::filesystem::remove(path);
        ASSERT_TRUE(engine.has_value()) << engine.error().message;
        EngineRunner runner(**engine);
        SingleCalls calls;
        VerbHook* const hooks[] = {&calls};
        const int32_t sequence = runner.cache().add_sequence();
        const std::vector<int32_t> tokens = {3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5};
        const auto fed = feed(runner, {.sequence = sequence, .tokens = tokens, .chunk = 7}, hooks, {});
        ASSERT_TRUE(fed.has_value()) << fed.error().message;
        std::printf("[float64] %s: %lld values of %zu verbs, worst difference %.1e of the row's size\n",
                    architecture.c_str(), static_cast<long long>(calls.values()), calls.verbs(), calls.worst());
        EXPECT_GT(calls.worst(), 1e-8);  // two different functions were compared
        covered.insert(calls.verbs());
    }
    EXPECT_EQ(*covered.rbegin(), 12u);  // all but add_bias, which qwen2 has
}

}  // namespace
}  // namespace invar
