// Loops whose items may fail: which items are run, and whose error is reported, on any number of threads.
#include "machine/try_items.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <string>
#include <vector>

namespace invar {
namespace {

// Two nodes that share the CPUs of this process, so that workers and items have homes.
std::vector<NumaNode> two_nodes() {
    return {{.number = 0, .cpus = usable_cpus()}, {.number = 1, .cpus = usable_cpus()}};
}

TEST(ThreadPoolTryItems, RunsEveryItemOnceWhereNoneFails) {
    for (const int threads : {1, 2, 5}) {
        const auto pool = ThreadPool::create({.threads = threads}).value();
        for (const int64_t count : {0, 1, 2, 1000}) {
            std::vector<std::atomic<int>> runs(static_cast<size_t>(count));
            ASSERT_TRUE(try_items(*pool, count, [&](int64_t item) -> Result<void> {
                ++runs[static_cast<size_t>(item)];
                return {};
            }));
            EXPECT_EQ(std::count_if(runs.begin(), runs.end(), [](const auto& n) { return n == 1; }), count);
        }
    }
}

// Failures on several threads at once: a loop that kept the first in time would report any of them.
TEST(ThreadPoolTryItems, ReportsTheLowestItemThatFailsWhateverTheThreadsAndRunsAllBeforeIt) {
    for (const int threads : {1, 2, 3, 8}) {
        for (const bool homes : {false, true}) {
            ThreadPoolSettings settings{.threads = threads};
            if (homes) settings.nodes = two_nodes();
            const auto pool = ThreadPool::create(settings).value();
            const int known = pool->row_homes().homes();
            EXPECT_EQ(known, homes && threads > 1 ? 2 : 1);
            for (int round = 0; round < 50; ++round) {
                const int64_t lowest = 37 + round, count = 400;
                std::vector<std::atomic<int>> runs(static_cast<size_t>(count));
                const Result<void> done = try_items(
                    *pool, count, [&](int64_t item) { return static_cast<int>(item) % known; },
                    [&](int64_t item) -> Result<void> {
                        ++runs[static_cast<size_t>(item)];
                        if (item >= lowest && item % 3 == lowest % 3) return fail(ErrorKind::io, "item {} fails", item);
                        return {};
                    });
                ASSERT_FALSE(done) << threads;
                EXPECT_EQ(done.error().message, "item " + std::to_string(lowest) + " fails") << threads;
                EXPECT_EQ(done.error().kind, ErrorKind::io);
                for (int64_t item = 0; item <= lowest; ++item) ASSERT_EQ(runs[static_cast<size_t>(item)], 1) << item;
                const auto after =
                    std::count_if(runs.begin() + lowest + 1, runs.end(), [](const auto& n) { return n > 0; });
                if (threads == 1) {
                    EXPECT_EQ(after, 0);
                }
            }
        }
    }
}

TEST(ThreadPoolTryItems, LeavesThePoolReadyForTheNextLoopAfterAFailure) {
    const auto pool = ThreadPool::create({.threads = 4}).value();
    EXPECT_FALSE(try_items(*pool, 100, [](int64_t) -> Result<void> { return fail("always"); }));
    std::atomic<int64_t> sum{0};
    ASSERT_TRUE(try_items(*pool, 100, [&](int64_t item) -> Result<void> {
        sum += item;
        return {};
    }));
    EXPECT_EQ(sum, 4950);
}

}  // namespace
}  // namespace invar
