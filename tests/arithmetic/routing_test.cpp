// Routing: the total order against a plain sort, ties, margins and renormalisation.
#include "arithmetic/routing.h"

#include <gtest/gtest.h>

#include <algorithm>
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

}  // namespace
}  // namespace invar
