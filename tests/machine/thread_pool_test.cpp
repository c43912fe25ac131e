// The thread pool: every item once, at any number of threads, across sleeps, with several pools at once; and what a
// fork-join costs (printed, asserted only against a bound no working pool misses).
#include "machine/thread_pool.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <numeric>
#include <thread>
#include <vector>

namespace invar {
namespace {

std::unique_ptr<ThreadPool> make_pool(int threads, int spin_microseconds = 50, bool pin = false) {
    auto pool = ThreadPool::create({.threads = threads, .pin = pin, .spin_microseconds = spin_microseconds});
    EXPECT_TRUE(pool.has_value()) << pool.error().message;
    return std::move(*pool);
}

TEST(ThreadPool, RefusesImpossibleThreadCounts) {
    for (const int threads : {0, -1, 5000}) {
        const auto pool = ThreadPool::create({.threads = threads});
        ASSERT_FALSE(pool.has_value());
        EXPECT_NE(pool.error().message.find("ask for 1 to 4096"), std::string::npos);
    }
}

TEST(ThreadPool, CoversEveryIndexExactlyOnceInRangesThatStartAtTheGrain) {
    int64_t indices = 0;
    for (const int threads : {1, 2, 3, 8}) {
        const auto pool = make_pool(threads);
        for (const int64_t count : {0, 1, 2, 7, 8, 9, 63, 64, 65, 1000}) {
            for (const int64_t grain : {1, 4, 64}) {
                std::vector<int> visits(static_cast<size_t>(count), 0);
                std::vector<int> calls(static_cast<size_t>(threads), 0);
                pool->parallel_for(count, grain, [&](int64_t first, int64_t last, int worker) {
                    EXPECT_LT(first, last);
                    EXPECT_EQ(first % grain, 0);
                    ++calls[static_cast<size_t>(worker)];
                    for (int64_t i = first; i < last; ++i) ++visits[static_cast<size_t>(i)];
                });
                EXPECT_TRUE(std::ranges::all_of(visits, [](int v) { return v == 1; })) << threads << " " << count;
                EXPECT_TRUE(std::ranges::all_of(calls, [](int v) { return v <= 1; }));
                indices += count;
            }
        }
    }
    printf("[pool] %lld indices, each visited once\n", static_cast<long long>(indices));
}

TEST(ThreadPool, ItemsAreClaimedExactlyOnce) {
    for (const int threads : {1, 2, 5}) {
        const auto pool = make_pool(threads);
        for (const int64_t count : {0, 1, 3, 1000}) {
            std::vector<int> visits(static_cast<size_t>(count), 0);
            pool->parallel_items(count, [&](int64_t item, int worker) {
                EXPECT_GE(worker, 0);
                EXPECT_LT(worker, threads);
                ++visits[static_cast<size_t>(item)];
            });
            EXPECT_TRUE(std::ranges::all_of(visits, [](int v) { return v == 1; }));
        }
    }
}

// Loops back to back, loops after the workers fell asleep, and loops in which the caller has to sleep.
TEST(ThreadPool, ItemsWithHomesAreClaimedOnceAndAtHomeUnlessStolen) {
    int64_t items = 0;
    for (const bool steal : {true, false}) {
        for (const int threads : {1, 2, 3, 7}) {
            for (const int nodes : {1, 2, 3, 12}) {
                std::vector<NumaNode> machine;
                for (int node = 0; node < nodes; ++node) machine.push_back({.number = node, .cpus = usable_cpus()});
                const auto pool = ThreadPool::create({.threads = threads, .nodes = machine, .steal = steal}).value();
                const int homes = pool->row_homes().homes();
                EXPECT_LE(homes, std::min({threads, nodes, 8}));
                EXPECT_GE(homes, std::min(threads, nodes) > 1 ? 2 : 1);
                for (const int64_t count : {0, 1, 5, 1000}) {
                    std::vector<int> visits(static_cast<size_t>(count), 0);
                    const auto home_of = [&](int64_t item) { return static_cast<int>(item * 7 % homes); };
                    pool->parallel_items(count, home_of, [&](int64_t item, int worker) {
                        if (!steal && count > 1 && threads > 1) {
                            EXPECT_EQ(pool->row_homes().home_of_worker(worker), home_of(item));
                        }
                        ++visits[static_cast<size_t>(item)];
                    });
                    EXPECT_TRUE(std::ranges::all_of(visits, [](int v) { return v == 1; }));
                    items += count;
                }
            }
        }
    }
    printf("[pool] %lld items with homes, each claimed once\n", static_cast<long long>(items));
    EXPECT_EQ(items, 2 * 4 * 4 * 1006);
}

TEST(ThreadPool, LosesNoWakeUpBetweenSpinningAndSleeping) {
    int64_t loops = 0;
    for (const int spin : {0, 1, 50}) {
        const auto pool = make_pool(2, spin);
        int64_t total = 0;
        std::vector<int64_t> sums(2 * 8, 0);
        for (int round = 0; round < 3000; ++round, ++loops) {
            pool->parallel_for(
                2, 1, [&](int64_t first, int64_t, int worker) { sums[static_cast<size_t>(worker) * 8] += first + 1; });
            total += 3;
            if (round % 100 == 0) std::this_thread::sleep_for(std::chrono::microseconds(round % 300));
        }
        EXPECT_EQ(sums[0] + sums[8], total);
        pool->parallel_for(2, 1, [&](int64_t first, int64_t, int) {
            if (first == 1) std::this_thread::sleep_for(std::chrono::milliseconds(20));
        });
    }
    printf("[pool] %lld loops joined\n", static_cast<long long>(loops));
}

TEST(ThreadPool, SeveralPoolsWorkSideBySide) {
    std::vector<std::thread> engines;
    std::vector<int64_t> sums(3, 0);
    for (int engine = 0; engine < 3; ++engine) {
        engines.emplace_back([&, engine] {
            const auto pool = make_pool(3);
            std::vector<int64_t> parts(3 * 8, 0);
            for (int round = 0; round < 300; ++round) {
                pool->parallel_for(90, 1, [&](int64_t first, int64_t last, int worker) {
                    for (int64_t i = first; i < last; ++i) parts[static_cast<size_t>(worker) * 8] += i;
                });
            }
            sums[static_cast<size_t>(engine)] = std::accumulate(parts.begin(), parts.end(), int64_t{0});
        });
    }
    for (std::thread& engine : engines) engine.join();
    for (const int64_t sum : sums) EXPECT_EQ(sum, 300 * (89 * 90 / 2));
}

TEST(ThreadPool, IdleWorkersSleep) {
    const auto pool = make_pool(2);
    pool->parallel_for(2, 1, [](int64_t, int64_t, int) {});
    const std::clock_t before = std::clock();
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    const double busy = static_cast<double>(std::clock() - before) / CLOCKS_PER_SEC;
    printf("[pool] an idle pool used %.2f ms of CPU time in 200 ms\n", busy * 1e3);
    EXPECT_LT(busy, 0.05);
}

TEST(ThreadPool, ForkJoinCostsMicroseconds) {
    for (const bool pin : {false, true}) {
        for (const int threads : {1, 2}) {
            const auto pool = make_pool(threads, 50, pin);
            std::vector<double> microseconds;
            const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(1);
            while (microseconds.size() < 5000 && std::chrono::steady_clock::now() < deadline) {
                const auto start = std::chrono::steady_clock::now();
                pool->parallel_for(threads, 1, [](int64_t, int64_t, int) {});
                microseconds.push_back(
                    std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start).count());
            }
            std::ranges::sort(microseconds);
            const size_t count = microseconds.size();
            printf("[pool] fork-join, %d threads%s: median %.2f us, 90 %% below %.2f us\n", threads,
                   pin ? " pinned" : "", microseconds[count / 2], microseconds[count * 9 / 10]);
            EXPECT_LT(microseconds[count / 2], 1e5);
        }
    }
}

}  // namespace
}  // namespace invar
