// Choices made from ranks alone against choices made from all logits: the answer to a request is worked out here by a
// plain sort of the whole row (docs/arithmetic.md, section 7, steps 1 to 4), thousands of random rows and settings.
// Devices that answer are compared with the sampler in tests/cuda.
#include "ops/preselection.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

#include "generate/sampler.h"

namespace invar {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

RankedLogits answer(const Preselection& request, const std::vector<float>& logits) {
    RankedLogits answer;
    std::vector<RankedLogit> ranked;
    for (size_t i = 0; i < logits.size(); ++i) {
        const auto token = static_cast<int32_t>(i);
        float logit = logits[i];
        if (!(logit < kInfinity) && !answer.wrong) answer.wrong = RankedLogit{token, logit};
        for (const LogitEdit& edit : request.edits) {
            if (edit.token != token) continue;
            if (edit.banned != 0) logit = -kInfinity;
            if (edit.has_bias != 0) logit = logit + edit.bias;
            if (edit.seen == 0) continue;
            logit = logit > 0 ? logit / request.repetition_penalty : logit * request.repetition_penalty;
            logit = logit - request.frequency_penalty * static_cast<float>(edit.seen);
            logit = logit - request.presence_penalty;
        }
        if (request.temperature != 0) logit = logit / request.temperature;
        ranked.push_back({token, logit + 0.0f});
    }
    if (answer.wrong) return answer;
    std::stable_sort(ranked.begin(), ranked.end(),
                     [](const RankedLogit& a, const RankedLogit& b) { return a.logit > b.logit; });
    ranked.resize(std::min(ranked.size(), static_cast<size_t>(request.count)));
    answer.first = std::move(ranked);
    return answer;
}

struct Case {
    SamplerSettings settings;
    std::vector<float> logits;
    std::vector<int32_t> history;
};

Case random_case(std::mt19937& random) {
    const auto below = [&](uint64_t count) { return random() % count; };
    const auto one_of = [&](auto... values) { return std::array{values...}[below(sizeof...(values))]; };
    const auto vocabulary = static_cast<size_t>(one_of(1, 2, 37, 300, 1100));
    const auto token = [&] { return static_cast<int32_t>(below(vocabulary)); };
    std::normal_distribution<float> normal(0, 1);
    Case made;
    const int kind = static_cast<int>(below(12));  // 7 and more: ordinary
    for (size_t i = 0; i < vocabulary; ++i) {
        float logit = normal(random);
        if (kind == 1) logit = std::round(logit);                            // ties
        if (kind == 2) logit = below(2) == 0 ? 0.0f : -0.0f;                 // zeros of both signs, all tied
        if (kind == 3 && below(20) != 0) logit = -kInfinity;                 // few tokens left
        if (kind == 4) logit *= 5e37f;                                       // overflows at low temperatures
        if (kind == 5 && below(2 * vocabulary) == 0) logit = std::nanf("");  // sometimes
        if (kind == 6 && below(2 * vocabulary) == 0) logit = kInfinity;
        made.logits.push_back(logit);
    }
    SamplerSettings& settings = made.settings;
    settings.temperature = one_of(0.0f, 0.01f, 0.7f, 1.0f, 2.5f);
    settings.top_k = one_of(1, 2, 5, 40, 256);
    settings.top_p = one_of(1.0f, 0.95f, 0.5f, 0.0f);
    settings.min_p = one_of(0.0f, 0.05f, 0.9f);
    settings.seed = random();
    if (below(2) == 0) settings.repetition_penalty = one_of(0.8f, 1.3f);
    if (below(2) == 0) settings.frequency_penalty = one_of(-0.2f, 0.4f);
    if (below(2) == 0) settings.presence_penalty = one_of(-0.5f, 0.5f);
    settings.penalty_window = one_of(-1, 0, 7, 64);
    for (uint64_t i = below(4); i > 0; --i) settings.banned.ids.push_back(token());
    for (uint64_t i = below(4); i > 0; --i) {
        const int32_t biased = token();
        const auto same = [&](const LogitBias& entry) { return entry.token == biased; };
        if (std::none_of(settings.bias.begin(), settings.bias.end(), same))
            settings.bias.push_back({biased, one_of(-2.0f, 1.5f, 3.0f)});
    }
    for (uint64_t i = below(100); i > 0; --i) made.history.push_back(token());
    return made;
}

TEST(Preselection, ChoosesWhatAllLogitsChoose) {
    std::mt19937 random(23);
    int64_t choices = 0, errors = 0, differ = 0, beyond_first = 0;
    for (int i = 0; i < 8000; ++i) {
        const Case made = random_case(random);
        const auto vocabulary = static_cast<int64_t>(made.logits.size());
        Sampler sampler(made.settings), asking(made.settings);
        const auto request = asking.preselection(made.history, vocabulary);
        ASSERT_TRUE(request && *request);
        const auto position = static_cast<int64_t>(random() % 10'000);
        const RankedLogits ranked = answer(**request, made.logits);
        const auto expected = sampler.sample(made.logits, made.history, position);
        const auto actual = asking.sample(ranked, vocabulary, position);
        ++choices;
        errors += !expected;
        const bool same = expected && actual
                              ? expected->token == actual->token && expected->candidates == actual->candidates &&
                                    expected->probability == actual->probability
                              : !expected && !actual && expected.error().message == actual.error().message;
        differ += !same;
        EXPECT_TRUE(same) << "case " << i;
        beyond_first += expected && expected->token != ranked.first.front().token;
    }
    std::printf(
        "[equality] %ld choices from ranks and from all logits, %ld of them errors, %ld not of the first rank, "
        "%ld differ\n",
        choices, errors, beyond_first, differ);
    EXPECT_EQ(differ, 0);
    EXPECT_GT(errors, 300);
    EXPECT_GT(beyond_first, 500);
}

// What the ranks cannot decide is asked of all logits.
TEST(Preselection, IsNotForChoicesThatNeedEveryToken) {
    const auto asks = [](const SamplerSettings& settings, std::span<const int32_t> history) {
        Sampler sampler(settings);
        const auto request = sampler.preselection(history, 10'000);
        EXPECT_TRUE(request.has_value());
        return request->has_value();
    };
    EXPECT_TRUE(asks({.temperature = 0}, {}));
    EXPECT_TRUE(asks({.temperature = 1, .top_k = kMostPreselected}, {}));
    EXPECT_FALSE(asks({.temperature = 1, .top_k = kMostPreselected + 1}, {}));
    EXPECT_FALSE(asks({.temperature = 1}, {}));
    // As many tokens with a penalty as a device has room for, and one more.
    std::vector<int32_t> history(kMostLogitEdits);
    for (size_t i = 0; i < history.size(); ++i) history[i] = static_cast<int32_t>(i);
    SamplerSettings penalised{.temperature = 0};
    penalised.presence_penalty = 1;
    penalised.penalty_window = -1;
    EXPECT_TRUE(asks(penalised, history));
    history.push_back(kMostLogitEdits);
    EXPECT_FALSE(asks(penalised, history));
    penalised.penalty_window = 64;
    EXPECT_TRUE(asks(penalised, history));
}

}  // namespace
}  // namespace invar
