// Pooling and unit length: the order of the steps made visible. The bits are compared with an independent evaluation in
// law_fixture_test.cpp.
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "arithmetic/pooling.h"

namespace invar {
namespace {

std::vector<float> pooled(Pooling mode, const std::vector<std::vector<float>>& rows) {
    const auto width = static_cast<int64_t>(rows[0].size());
    std::vector<float> state(rows[0].size(), 0.0f);
    for (size_t t = 0; t < rows.size(); ++t)
        law::pool_row(mode, static_cast<int64_t>(t), rows[t].data(), width, state.data());
    law::pool_end(mode, static_cast<int64_t>(rows.size()), width, state.data());
    return state;
}

const std::vector<std::vector<float>> kRows = {{-1, 2}, {-3, 5}, {-2, -4}, {-6, 1}};

TEST(Pooling, TakesTheFirstRowTheLastAndTheLargestOfEachElement) {
    EXPECT_EQ(pooled(Pooling::cls, kRows), (std::vector<float>{-1, 2}));
    EXPECT_EQ(pooled(Pooling::last, kRows), (std::vector<float>{-6, 1}));
    EXPECT_EQ(pooled(Pooling::max, kRows), (std::vector<float>{-1, 5}));  // not +0, where the state begins
}

TEST(Pooling, DividesTheSumByTheNumberOfRowsItsRootOrTheSumOfWeights) {
    EXPECT_EQ(pooled(Pooling::mean, kRows), (std::vector<float>{-3, 1}));
    EXPECT_EQ(pooled(Pooling::mean_sqrt_length, kRows), (std::vector<float>{-6, 2}));
    // (1 * -1 + 2 * -3 + 3 * -2 + 4 * -6) / 10 and (2 + 10 - 12 + 4) / 10
    EXPECT_EQ(pooled(Pooling::weighted_mean, kRows), (std::vector<float>{-37.0f / 10, 4.0f / 10}));
}

TEST(Pooling, AddsRowsInTheirOrder) {
    // 2^24 + 1 rounds back to 2^24, so the two ones are lost only behind it.
    EXPECT_EQ(pooled(Pooling::mean, {{0x1p24f}, {1}, {1}, {0}})[0], 0x1p24f / 4);
    EXPECT_EQ(pooled(Pooling::mean, {{1}, {1}, {0x1p24f}, {0}})[0], (0x1p24f + 2) / 4);
}

TEST(Pooling, OneRowIsItselfInEveryMode) {
    for (const Pooling mode :
         {Pooling::cls, Pooling::max, Pooling::mean, Pooling::mean_sqrt_length, Pooling::weighted_mean, Pooling::last})
        EXPECT_EQ(pooled(mode, {{0.1f, -7.3f}}), (std::vector<float>{0.1f, -7.3f})) << pooling_name(mode);
}

TEST(UnitLength, DividesByTheLength) {
    std::vector<float> x = {3, 0, -4};
    law::unit_length(x.data(), 3, x.data());
    EXPECT_EQ(x, (std::vector<float>{3.0f / 5, 0, -4.0f / 5}));
}

TEST(UnitLength, LeavesZerosAndDividesTinyVectorsByTheFloor) {
    std::vector<float> x = {0, 0}, y = {1e-20f, 0};
    law::unit_length(x.data(), 2, x.data());
    law::unit_length(y.data(), 2, y.data());
    EXPECT_EQ(x, (std::vector<float>{0, 0}));
    EXPECT_EQ(y, (std::vector<float>{1e-20f / 1e-12f, 0}));
}

}  // namespace
}  // namespace invar
