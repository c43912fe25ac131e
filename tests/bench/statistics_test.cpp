#include "bench/statistics.h"

#include <gtest/gtest.h>

namespace invar {
namespace {

TEST(Statistics, TakesMedianLeastAndGreatest) {
    const Spread odd = spread_of({5, 1, 9, 2, 3});
    EXPECT_EQ(odd.median, 3);
    EXPECT_EQ(odd.low, 1);
    EXPECT_EQ(odd.high, 9);
    EXPECT_EQ(spread_of({4, 1, 2, 100}).median, 3);  // the mean of the two in the middle
    const Spread one = spread_of({7});
    EXPECT_EQ(one.median, 7);
    EXPECT_EQ(one.low, 7);
    EXPECT_EQ(one.high, 7);
}

TEST(Statistics, RatiosArePairByPair) {
    // Medians of the series are 2 and 3, their ratio 1.5; the median of the ratios is another number.
    const std::vector<double> ratios = paired_ratios({1, 2, 10}, {3, 2.5, 11});
    EXPECT_EQ(ratios, (std::vector<double>{3, 1.25, 1.1}));
    EXPECT_EQ(spread_of(ratios).median, 1.25);
}

}  // namespace
}  // namespace invar
