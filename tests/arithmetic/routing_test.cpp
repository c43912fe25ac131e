// Routing: the total order against a plain sort, ties, margins and renormalisation; whole routers against their
// formulas.
#include "arithmetic/routing.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numeric>
#include <random>
#include <vector>

namespace invar {
namespace {

TEST(Routing, RanksLikeAPlainSortEvenWithTies) {
    std::mt19937 random(4);
    int compared = 0, ties = 0;
    for (int round = 0; round < 500; ++round) {
        const int n = 1 + static_cast<int>(random() % 128), k = 1 + static_cast<int>(random() % n);
        std::vector<float> probabilities(n);
        for (float& p : probabilities) p = static_cast<float>(random() % 40) / 64;  // many ties
        std::vector<int32_t> order(n);
        std::iota(order.begin(), order.end(), 0);
        std::stable_sort(order.begin(), order.end(),
                         [&](int32_t a, int32_t b) { return probabilities[a] > probabilities[b]; });
        const Routing routing = law::top_k(probabilities.data(), n, k);
        ASSERT_EQ(routing.experts.size(), static_cast<size_t>(k));
        for (int i = 0; i < k; ++i, ++compared) {
            EXPECT_EQ(routing.experts[i].expert, order[i]);
            EXPECT_EQ(routing.experts[i].weight, probabilities[order[i]]);
        }
        const float next = k < n ? probabilities[order[k]] : 0.0f;
        EXPECT_EQ(routing.margin, probabilities[order[k - 1]] - next);
        ties += routing.margin == 0;
    }
    std::printf("[equality] %d ranks compared with a stable sort, 0 differ; %d near ties at the edge\n", compared,
                ties);
    EXPECT_GT(ties, 50);
}

TEST(Routing, PrefersTheLowerIndexOfEqualExperts) {
    const std::vector<float> probabilities = {0.1f, 0.3f, 0.3f, 0.3f};
    const Routing routing = law::top_k(probabilities.data(), 4, 2);
    EXPECT_EQ(routing.experts[0].expert, 1);
    EXPECT_EQ(routing.experts[1].expert, 2);
    EXPECT_EQ(routing.margin, 0.0f);
}

TEST(Routing, RenormalisesInRankOrder) {
    // In rank order (1 + 2^-24) + 2^-24 = 1; from the small end the two would meet first and give 1 + 2^-23.
    const std::vector<float> probabilities = {0x1p-24f, 1.0f, 0x1p-24f};
    Routing routing = law::top_k(probabilities.data(), 3, 3);
    law::renormalise(routing);
    EXPECT_EQ(routing.experts[0].weight, 1.0f);
    EXPECT_EQ(routing.experts[1].weight, 0x1p-24f);
}

// ---- the whole router, against the formulas written out plainly: scores in binary64, choices by stable sorts

struct PlainRouting {
    std::vector<int> experts;
    std::vector<double> weights;
};

// The numbers from high to low, of equal ones the lower index first.
std::vector<int> sorted_down(const std::vector<float>& values) {
    std::vector<int> order(values.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(),
                     [&](int a, int b) { return values[static_cast<size_t>(a)] > values[static_cast<size_t>(b)]; });
    return order;
}

// `scores` are those in binary32 by which the law ranks; the weights are computed from the logits alone.
PlainRouting route_plainly(const RouteSpec& spec, const std::vector<float>& logits, const std::vector<float>& bias,
                           const std::vector<float>& scores) {
    const size_t n = logits.size();
    std::vector<float> ranks = scores;
    for (size_t i = 0; i < n && !bias.empty(); ++i) ranks[i] = scores[i] + bias[i];
    const size_t size = n / static_cast<size_t>(spec.groups);
    std::vector<float> group_scores;
    for (size_t first = 0; first < n; first += size) {
        std::vector<float> group(ranks.begin() + static_cast<std::ptrdiff_t>(first),
                                 ranks.begin() + static_cast<std::ptrdiff_t>(first + size));
        std::sort(group.rbegin(), group.rend());
        group_scores.push_back(spec.group_score == RouteSpec::GroupScore::best ? group[0] : group[0] + group[1]);
    }
    const std::vector<int> groups = sorted_down(group_scores);
    PlainRouting routing;
    for (const int expert : sorted_down(ranks)) {
        const auto used = groups.begin() + spec.groups_used;
        if (std::find(groups.begin(), used, expert / static_cast<int>(size)) == used) continue;
        if (std::ssize(routing.experts) == spec.experts_per_row) break;
        routing.experts.push_back(expert);
    }
    double total = 0;
    if (spec.scoring == RouteSpec::Scoring::softmax)
        for (const float logit : logits) total += std::exp(double{logit});
    double chosen = 0;
    for (const int expert : routing.experts) {
        const double e = std::exp(double{logits[static_cast<size_t>(expert)]});
        routing.weights.push_back(total > 0 ? e / total : e / (1 + e));
        chosen += routing.weights.back();
    }
    for (double& weight : routing.weights)
        weight = weight / (spec.renormalise ? chosen + double{spec.sum_floor} : 1.0) * double{spec.factor};
    return routing;
}

constexpr RouteSpec kDeepSeekV3{.experts_per_row = 3,
                                .renormalise = true,
                                .scoring = RouteSpec::Scoring::sigmoid,
                                .groups = 4,
                                .groups_used = 2,
                                .group_score = RouteSpec::GroupScore::sum_of_best_two,
                                .sum_floor = 1e-20f,
                                .factor = 2.5f};
constexpr RouteSpec kDeepSeekV2{.experts_per_row = 3,
                                .renormalise = false,
                                .scoring = RouteSpec::Scoring::softmax,
                                .groups = 4,
                                .groups_used = 2,
                                .group_score = RouteSpec::GroupScore::best,
                                .factor = 16.0f};

TEST(Routing, RoutersOfDeepSeekEqualTheirFormulasEvenWithTies) {
    std::mt19937 random(5);
    int compared = 0, ties = 0;
    for (int round = 0; round < 2000; ++round) {
        RouteSpec spec = round % 2 == 0 ? kDeepSeekV3 : kDeepSeekV2;
        if (round % 5 == 0) spec.groups = spec.groups_used = 1;
        if (round % 7 == 0) spec.renormalise = false;
        const bool coarse = round % 3 != 0;  // numbers of which many are equal
        const auto number = [&](float range) {
            const float x =
                coarse ? static_cast<float>(random() % 5) / 4 : static_cast<float>(random() % 100000) / 1e5f;
            return (2 * x - 1) * range;
        };
        const size_t experts = 4 * (2 + random() % 8);
        std::vector<float> logits(experts), bias, scores(experts);
        for (float& logit : logits) logit = number(3);
        if (spec.scoring == RouteSpec::Scoring::sigmoid) {
            bias.resize(experts);
            for (float& one : bias) one = number(1);
        }
        const Routing routing = law::route(spec, logits.data(), bias.empty() ? nullptr : bias.data(), nullptr,
                                           static_cast<int64_t>(experts), scores.data());
        const PlainRouting plain = route_plainly(spec, logits, bias, scores);
        ASSERT_EQ(routing.experts.size(), plain.experts.size());
        for (size_t j = 0; j < plain.experts.size(); ++j, ++compared) {
            EXPECT_EQ(routing.experts[j].expert, plain.experts[j]) << "round " << round << ", rank " << j;
            EXPECT_NEAR(routing.experts[j].weight, plain.weights[j], 1e-6 * plain.weights[j]) << "round " << round;
        }
        ties += routing.margin == 0;
    }
    std::printf("[equality] %d choices of routers compared with plain formulas; %d exact ties at the edge\n", compared,
                ties);
    EXPECT_GT(compared, 5000);
    EXPECT_GT(ties, 200);
}

TEST(Routing, WeightsComeFromTheScoresBeforeTheBias) {
    // The bias is far larger than the scores; what is left of s + b has no digit of s.
    const std::vector<float> logits = {-18, -19, -20, -30}, bias = {12, 12, 12, 12};
    std::vector<float> scores(4);
    RouteSpec spec = kDeepSeekV3;
    spec.groups = spec.groups_used = 1;
    spec.experts_per_row = 2;
    spec.factor = 1;
    const Routing routing = law::route(spec, logits.data(), bias.data(), nullptr, 4, scores.data());
    EXPECT_EQ(routing.experts[0].expert, 0);  // all sums are 12, so the lower index wins
    EXPECT_EQ(routing.experts[1].expert, 1);
    EXPECT_EQ(routing.margin, 0.0f);
    EXPECT_NEAR(routing.experts[0].weight, 1 / (1 + std::exp(-1.0)), 1e-6);
    EXPECT_NEAR(routing.experts[1].weight, 1 / (1 + std::exp(1.0)), 1e-6);
}

TEST(Routing, GroupsLeftOutAreNeverChosenThoughAllRanksAreNegative) {
    // With zeros instead of -inf, experts 4 to 7 would be best.
    const std::vector<float> logits = {-1, -1, -2, -2, -1.5f, -3, -3, -3}, bias(8, -2.0f);
    std::vector<float> scores(8);
    RouteSpec spec = kDeepSeekV3;
    spec.groups = 2;
    spec.groups_used = 1;
    const Routing routing = law::route(spec, logits.data(), bias.data(), nullptr, 8, scores.data());
    for (size_t j = 0; j < 3; ++j) EXPECT_EQ(routing.experts[j].expert, static_cast<int>(j));
}

TEST(Routing, GroupsAreRankedByTheirBestOrTheirBestTwo) {
    // Group 0 has the best expert, group 1 the best two.
    const std::vector<float> logits = {3, -5, 2, 2}, bias(4, 0.0f);
    std::vector<float> scores(4);
    RouteSpec spec = kDeepSeekV3;
    spec.groups = 2;
    spec.groups_used = 1;
    spec.experts_per_row = 2;
    EXPECT_EQ(law::route(spec, logits.data(), bias.data(), nullptr, 4, scores.data()).experts[0].expert, 2);
    spec.group_score = RouteSpec::GroupScore::best;
    EXPECT_EQ(law::route(spec, logits.data(), bias.data(), nullptr, 4, scores.data()).experts[0].expert, 0);
}

TEST(Routing, TinyScoresAreRenormalisedByTheirSumAndNotByAFloorOfOtherEngines) {
    const std::vector<float> logits = {-40, -41, -42};
    std::vector<float> scores(3);
    RouteSpec spec = kDeepSeekV3;
    spec.groups = spec.groups_used = 1;
    spec.experts_per_row = 2;
    spec.factor = 1;
    const Routing routing = law::route(spec, logits.data(), nullptr, nullptr, 3, scores.data());
    const double a = std::exp(-40.0), b = std::exp(-41.0), sum = a + b + 1e-20;
    EXPECT_NEAR(routing.experts[0].weight, a / sum, 1e-6);
    EXPECT_NEAR(routing.experts[1].weight, b / sum, 1e-6);
}

}  // namespace
}  // namespace invar
