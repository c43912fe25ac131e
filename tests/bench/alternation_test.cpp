#include "bench/alternation.h"

#include <gtest/gtest.h>

#include <string>

namespace invar {
namespace {

// A side whose n-th turn gives the n-th of some speeds, and which writes its name down.
Turn side(std::string& order, char name, std::vector<std::vector<double>> speeds) {
    return [&order, name, speeds = std::move(speeds), turn = size_t{0}]() mutable -> Result<std::vector<double>> {
        order += name;
        return speeds.at(turn++);
    };
}

TEST(Alternation, ExchangesWhoGoesFirst) {
    std::string order;
    const auto result =
        alternate(side(order, 'a', {{1}, {2}, {3}, {4}, {5}}), side(order, 'b', {{10}, {20}, {30}, {40}, {50}}), 5);
    ASSERT_TRUE(result) << result.error().message;
    EXPECT_EQ(order, "abbaabbaab");
    ASSERT_EQ(result->size(), 1u);
    // Whoever went first, each side keeps its own speeds, in the order of the pairs.
    EXPECT_EQ(result->front().first, (std::vector<double>{1, 2, 3, 4, 5}));
    EXPECT_EQ(result->front().second, (std::vector<double>{10, 20, 30, 40, 50}));
}

TEST(Alternation, StatesMediansAndPairedRatios) {
    std::string order;
    // The machine is twice as fast in the second pair: the speeds spread by 2, the ratios do not.
    const auto result =
        alternate(side(order, 'a', {{10, 7}, {20, 7}, {10, 7}}), side(order, 'b', {{12, 7}, {24, 7}, {11, 7}}), 3);
    ASSERT_TRUE(result) << result.error().message;
    ASSERT_EQ(result->size(), 2u);
    const PairedSpeeds& work = result->front();
    EXPECT_EQ(work.first_speed().median, 10);
    EXPECT_EQ(work.second_speed().median, 12);
    EXPECT_DOUBLE_EQ(work.ratio_of_medians(), 1.2);
    EXPECT_DOUBLE_EQ(work.ratios().median, 1.2);
    EXPECT_DOUBLE_EQ(work.ratios().low, 1.1);
    EXPECT_DOUBLE_EQ(work.ratios().high, 1.2);
    EXPECT_EQ((*result)[1].ratio_of_medians(), 1);
}

TEST(Alternation, EndsWithTheErrorOfATurn) {
    std::string order;
    int turns = 0;
    const Turn fails = [&]() -> Result<std::vector<double>> {
        if (++turns == 2) return fail("the other build is gone");
        return std::vector<double>{1};
    };
    const auto result = alternate(side(order, 'a', {{1}, {1}, {1}}), fails, 3);
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().message, "the other build is gone");
    EXPECT_EQ(order, "a");  // the second pair was led by the one that failed
}

TEST(Alternation, RefusesSidesThatMeasureDifferently) {
    std::string order;
    const auto result = alternate(side(order, 'a', {{1, 2}}), side(order, 'b', {{1}}), 1);
    ASSERT_FALSE(result);
    EXPECT_NE(result.error().message.find("measured 2 works and the other 1"), std::string::npos);
}

}  // namespace
}  // namespace invar
