// Shares of rows: every row in one item of one home, in proportion to the workers, whole groups of four.
#include "machine/row_homes.h"

#include <gtest/gtest.h>

#include <cstdio>

namespace invar {
namespace {

TEST(RowHomes, EveryRowIsInOneItemOfTheHomeWhoseShareItIs) {
    int64_t covered = 0;
    for (const std::vector<int>& first_worker :
         {std::vector<int>{0, 1}, {0, 64}, {0, 1, 2}, {0, 32, 64}, {0, 2, 5}, {0, 1, 2, 3, 4}, {0, 0, 2}}) {
        const RowHomes homes(first_worker);
        EXPECT_EQ(homes.homes(), static_cast<int>(first_worker.size()) - 1);
        for (const int64_t rows : {1, 3, 4, 5, 8, 63, 64, 1000, 4096, 151936}) {
            for (const int64_t rows_each : {4, 64, 256, 200000}) {
                const RowItems items(homes, rows, rows_each);
                int64_t next = 0;
                for (int64_t item = 0; item < items.count(); ++item) {
                    const auto [home, first, last] = items.at(item);
                    ASSERT_EQ(first, next) << "rows " << rows << " each " << rows_each;
                    ASSERT_GT(last, first);
                    ASSERT_LE(last - first, rows_each);
                    ASSERT_EQ(first % 4, 0);
                    ASSERT_GE(first, homes.first_row(home, rows));
                    ASSERT_LE(last, homes.first_row(home + 1, rows));
                    next = last;
                }
                ASSERT_EQ(next, rows);
                covered += rows;
            }
        }
    }
    std::printf("[homes] %lld rows, each in one item of one home\n", static_cast<long long>(covered));
    EXPECT_GT(covered, 1'000'000);
}

TEST(RowHomes, SharesAreInProportionToTheWorkers) {
    const RowHomes homes(std::vector<int>{0, 2, 5});
    EXPECT_EQ(homes.first_row(1, 1000), 400);
    EXPECT_EQ(homes.first_row(2, 1000), 1000);
    for (int worker = 0; worker < 5; ++worker) EXPECT_EQ(homes.home_of_worker(worker), worker < 2 ? 0 : 1);
    EXPECT_EQ(RowHomes().homes(), 1);
    EXPECT_EQ(RowHomes().home_of_worker(63), 0);
    EXPECT_EQ(RowHomes().first_row(1, 10), 10);
}

TEST(RowHomes, OneHomeCutsAsBefore) {
    const RowHomes one;
    const RowItems items(one, 1000, 64);
    EXPECT_EQ(items.count(), 16);
    EXPECT_EQ(items.at(15).first_row, 960);
    EXPECT_EQ(items.at(15).last_row, 1000);
}

}  // namespace
}  // namespace invar
