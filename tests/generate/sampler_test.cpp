// The sampler: against an independent numpy evaluation (tests/data/sampler, bits), against the plain definition that
// sorts everything (large vocabularies), as a distribution, and its refusals.
#include "generate/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <numeric>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "arithmetic/philox.h"
#include "arithmetic/reduce.h"
#include "arithmetic/softmax.h"
#include "base/json.h"

namespace invar {
namespace {

SamplerSettings settings_of(const Json& json) {
    SamplerSettings settings;
    settings.temperature = json["temperature"];
    settings.top_k = json["top_k"];
    settings.top_p = json["top_p"];
    settings.min_p = json["min_p"];
    settings.repetition_penalty = json["repetition_penalty"];
    settings.presence_penalty = json["presence_penalty"];
    settings.frequency_penalty = json["frequency_penalty"];
    settings.penalty_window = json["penalty_window"];
    settings.seed = json["seed"];
    settings.banned.ids = json["banned"].get<std::vector<int32_t>>();
    for (const Json& entry : json["bias"]) settings.bias.push_back({entry[0], entry[1]});
    return settings;
}

TEST(Sampler, EqualsAnIndependentEvaluation) {
    std::ifstream file(INVAR_TEST_DATA "/sampler/cases.json");
    std::ostringstream text;
    text << file.rdbuf();
    const auto json = parse_json(text.str());
    ASSERT_TRUE(json) << json.error().message;
    std::vector<std::vector<float>> rows;
    for (const Json& words : (*json)["rows_bits"]) {
        rows.emplace_back();
        for (const Json& word : words) rows.back().push_back(std::bit_cast<float>(word.get<uint32_t>()));
    }
    const auto history = (*json)["history"].get<std::vector<int32_t>>();
    int compared = 0, different = 0;
    for (const Json& entry : (*json)["cases"]) {
        const SamplerSettings settings = settings_of(entry);
        ASSERT_TRUE(settings.validate()) << settings.validate().error().message;
        Sampler sampler(settings);
        const auto sampled =
            sampler.sample(rows[entry["row"].get<size_t>()], history, entry["position"].get<int64_t>());
        ASSERT_TRUE(sampled) << sampled.error().message;
        ++compared;
        const bool equal = sampled->token == entry["expected"][0].get<int32_t>() &&
                           std::bit_cast<uint32_t>(sampled->probability) == entry["expected"][1].get<uint32_t>() &&
                           sampled->candidates == entry["expected"][2].get<int64_t>();
        different += !equal;
        EXPECT_TRUE(equal) << entry.dump() << " gave token " << sampled->token << ", probability "
                           << sampled->probability << " of " << sampled->candidates;
    }
    std::printf("[equality] %d choices compared with numpy, %d differ\n", compared, different);
    EXPECT_EQ(compared, 300);
}

std::vector<float> random_logits(int64_t n, uint32_t seed, float spread, bool ties) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal(0, spread);
    std::vector<float> logits(static_cast<size_t>(n));
    for (float& x : logits) x = ties ? std::round(normal(random) * 4) / 4 : normal(random);
    return logits;
}

// Section 7 from step 4 on, with a full sort and whole rows.
SampledToken plainly(std::vector<float> row, const SamplerSettings& settings, int64_t position) {
    const size_t n = row.size();
    for (float& x : row) x = settings.temperature == 0 ? x : x / settings.temperature;
    std::vector<int32_t> order(n);
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return row[a] > row[b]; });
    if (settings.temperature == 0) return {order[0], 1, 1};
    if (settings.top_k > 0 && static_cast<size_t>(settings.top_k) < n)
        order.resize(static_cast<size_t>(settings.top_k));
    std::vector<float> kept(n, -INFINITY), p(n);
    for (const int32_t token : order) kept[token] = row[token];
    law::softmax(kept.data(), static_cast<int64_t>(n), p.data());
    float reached = 0;
    for (size_t rank = 0; settings.top_p < 1 && rank < order.size(); ++rank) {
        reached = reached + p[order[rank]];
        if (reached >= settings.top_p) order.resize(rank + 1);
    }
    const float least = settings.min_p * p[order[0]];
    if (settings.min_p > 0) std::erase_if(order, [&](int32_t token) { return p[token] < least; });
    std::vector<float> chosen(n, 0.0f);
    for (const int32_t token : order) chosen[token] = p[token];
    const float total = law::sum(chosen.data(), static_cast<int64_t>(n));
    const float target = law::uniform(settings.seed, static_cast<uint64_t>(position)) * total;
    reached = 0;
    int32_t token = order.back();
    for (const int32_t candidate : order) {
        reached = reached + p[candidate];
        if (reached <= target) continue;
        token = candidate;
        break;
    }
    return {token, p[token] / total, static_cast<int64_t>(order.size())};
}

TEST(Sampler, PartialSelectionEqualsTheFullSort) {
    int compared = 0, different = 0;
    for (const int64_t n : {1, 2, 255, 5000, 32000}) {
        for (uint32_t seed = 0; seed < 60; ++seed) {
            const std::vector<float> logits = random_logits(n, seed, seed % 3 == 0 ? 0.5f : 3, seed % 2 == 0);
            SamplerSettings settings;
            settings.temperature = std::vector<float>{0, 0.6f, 1, 2}[seed % 4];
            settings.top_k = std::vector<int64_t>{0, 1, 40, 300, 2000, 20000}[seed % 6];
            settings.top_p = std::vector<float>{1, 0.3f, 0.95f, 0.9999f, 1}[seed % 5];
            settings.min_p = std::vector<float>{0, 0.05f, 0, 0.4f, 0, 0, 1e-5f}[seed % 7];
            settings.seed = seed;
            Sampler sampler(settings);
            for (int64_t position = 0; position < 3; ++position, ++compared) {
                const SampledToken expected = plainly(logits, settings, position);
                const auto sampled = sampler.sample(logits, {}, position);
                ASSERT_TRUE(sampled) << sampled.error().message;
                different += sampled->token != expected.token || sampled->probability != expected.probability ||
                             sampled->candidates != expected.candidates;
            }
        }
    }
    std::printf("[equality] %d choices compared with the plain definition, %d differ\n", compared, different);
    EXPECT_EQ(different, 0);
}

TEST(Sampler, DrawsFromTheDistribution) {
    // 12 tokens with known probabilities; 40000 positions of one seed.
    std::vector<float> logits(12);
    double total = 0;
    for (int i = 0; i < 12; ++i) total += std::exp(logits[i] = 0.3f * static_cast<float>((i * 5) % 12));
    SamplerSettings settings;
    settings.seed = 2024;
    Sampler sampler(settings);
    constexpr int kDraws = 40000;
    std::vector<int> counts(12);
    for (int64_t position = 0; position < kDraws; ++position) ++counts[sampler.sample(logits, {}, position)->token];
    double chi_square = 0;
    for (int i = 0; i < 12; ++i) {
        const double expected = kDraws * std::exp(double(logits[i])) / total;
        chi_square += std::pow(counts[i] - expected, 2) / expected;
    }
    std::printf("[distribution] chi-square of 12 tokens, %d draws: %.2f (99.9 %% below 31.3)\n", kDraws, chi_square);
    EXPECT_LT(chi_square, 31.3);
}

TEST(Sampler, DependsOnSeedAndPositionOnly) {
    const std::vector<float> logits = random_logits(1000, 1, 1, false);
    SamplerSettings settings;
    settings.seed = 5;
    Sampler forward(settings), backward(settings);
    std::vector<int32_t> tokens(50), again(50);
    for (int64_t position = 0; position < 50; ++position)
        tokens[position] = forward.sample(logits, {}, position)->token;
    for (int64_t position = 49; position >= 0; --position)
        again[position] = backward.sample(logits, {}, position)->token;
    EXPECT_EQ(tokens, again);
    settings.seed = 6;
    Sampler other(settings);
    int same = 0;
    for (int64_t position = 0; position < 50; ++position)
        same += other.sample(logits, {}, position)->token == tokens[position];
    EXPECT_LT(same, 5);
}

TEST(Sampler, GreedyTakesTheLowestIdOfEqualLogits) {
    SamplerSettings settings;
    settings.temperature = 0;
    Sampler sampler(settings);
    std::vector<float> logits(100, -1.0f);
    logits[17] = logits[60] = 2;
    EXPECT_EQ(sampler.sample(logits, {}, 0)->token, 17);
    logits[17] = -0.0f, logits[60] = 0.0f;
    EXPECT_EQ(sampler.sample(logits, {}, 0)->token, 17);
}

TEST(Sampler, BansAndBiasesReachTheGreedyPath) {
    SamplerSettings settings;
    settings.temperature = 0;
    settings.banned.ids = {4};
    settings.bias = {{2, 1.5f}};
    Sampler sampler(settings);
    const std::vector<float> logits = {0, 1, 1, 2, 9};
    EXPECT_EQ(sampler.sample(logits, {}, 0)->token, 2);
}

TEST(Sampler, PenaltiesCountTheWindowOnly) {
    SamplerSettings settings;
    settings.temperature = 0;
    settings.frequency_penalty = 0.5f;
    settings.penalty_window = 3;
    Sampler sampler(settings);
    const std::vector<float> logits = {2, 1.2f, 0};
    EXPECT_EQ(sampler.sample(logits, std::vector<int32_t>{0, 0, 0, 1, 1}, 0)->token, 0);  // one 0 in the window: 1.5
    EXPECT_EQ(sampler.sample(logits, std::vector<int32_t>{1, 0, 0}, 0)->token, 0);        // 1.0 against 0.7
    EXPECT_EQ(sampler.sample(logits, std::vector<int32_t>{1, 0, 0, 0}, 0)->token, 1);     // 0.5 against 1.2
    settings.penalty_window = -1;
    EXPECT_EQ(Sampler(settings).sample(logits, std::vector<int32_t>{0, 0, 0, 2, 2}, 0)->token, 1);
    settings.penalty_window = 0;
    EXPECT_EQ(Sampler(settings).sample(logits, std::vector<int32_t>{0, 0, 0, 0}, 0)->token, 0);
}

std::string error_of(SamplerSettings settings, const std::vector<float>& logits,
                     const std::vector<int32_t>& history = {}) {
    const auto sampled = Sampler(std::move(settings)).sample(logits, history, 0);
    return sampled ? "token " + std::to_string(sampled->token) : sampled.error().message;
}

TEST(Sampler, RefusesWhatCannotBeChosenFrom) {
    EXPECT_NE(error_of({}, {0, 1, NAN, 2}).find("token 2 is nan"), std::string::npos);
    EXPECT_NE(error_of({}, {0, INFINITY, NAN, 2}).find("token 1 is inf"), std::string::npos);
    EXPECT_NE(error_of({}, {}).find("no logits"), std::string::npos);
    EXPECT_NE(error_of({}, {-INFINITY, -INFINITY}).find("all 2 tokens"), std::string::npos);
    SamplerSettings settings;
    settings.banned.ids = {0, 1};
    EXPECT_NE(error_of(settings, {1, 2}).find("all 2 tokens are banned"), std::string::npos);
    EXPECT_NE(error_of(settings, {1}).find("banned token 1 is outside the vocabulary of 1"), std::string::npos);
    settings = {};
    settings.bias = {{-1, 1}};
    EXPECT_NE(error_of(settings, {1, 2}).find("biased token -1"), std::string::npos);
    settings = {};
    settings.presence_penalty = 1;
    EXPECT_NE(error_of(settings, {1, 2}, {7}).find("past token 7"), std::string::npos);
    settings = {};
    settings.temperature = 0.001f;
    EXPECT_NE(error_of(settings, {1e38f, 0}).find("overflows"), std::string::npos);
}

TEST(Sampler, RefusesImpossibleSettings) {
    const auto message = [](auto change) {
        SamplerSettings settings;
        change(settings);
        const auto result = settings.validate();
        return result ? std::string() : result.error().message;
    };
    EXPECT_EQ(message([](SamplerSettings&) {}), "");
    EXPECT_NE(message([](SamplerSettings& s) { s.temperature = -1; }).find("temperature is -1"), std::string::npos);
    EXPECT_NE(message([](SamplerSettings& s) { s.temperature = NAN; }).find("temperature is nan"), std::string::npos);
    EXPECT_NE(message([](SamplerSettings& s) { s.top_k = -3; }).find("top_k is -3"), std::string::npos);
    EXPECT_NE(message([](SamplerSettings& s) { s.top_p = 1.5f; }).find("top_p is 1.5"), std::string::npos);
    EXPECT_NE(message([](SamplerSettings& s) { s.min_p = -0.5f; }).find("min_p is -0.5"), std::string::npos);
    EXPECT_NE(message([](SamplerSettings& s) { s.repetition_penalty = 0; }).find("repetition_penalty is 0"),
              std::string::npos);
    EXPECT_NE(message([](SamplerSettings& s) { s.penalty_window = -2; }).find("penalty_window is -2"),
              std::string::npos);
    EXPECT_NE(message([](SamplerSettings& s) { s.bias = {{5, INFINITY}}; }).find("token 5 is inf"), std::string::npos);
    EXPECT_NE(message([](SamplerSettings& s) {
                  s.bias = {{5, 1}, {2, 1}, {5, 2}};
              }).find("token 5 has two"),
              std::string::npos);
}

TEST(Sampler, IsQuickOnALargeVocabulary) {
    const std::vector<float> logits = random_logits(151936, 9, 3, false);
    const auto milliseconds = [&](SamplerSettings settings) {
        Sampler sampler(std::move(settings));
        double best = 1e9;
        for (int round = 0; round < 9; ++round) {
            const auto start = std::chrono::steady_clock::now();
            EXPECT_TRUE(sampler.sample(logits, {}, round));
            best = std::min(
                best, std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count());
        }
        return best;
    };
    SamplerSettings greedy, usual, nucleus;
    greedy.temperature = 0;
    usual.top_k = 40, usual.top_p = 0.95f;
    nucleus.top_p = 0.9f;
    std::printf("[speed] 151936 logits: greedy %.3f ms, top-k 40 and top-p %.3f ms, top-p alone %.3f ms\n",
                milliseconds(greedy), milliseconds(usual), milliseconds(nucleus));
}

}  // namespace
}  // namespace invar
