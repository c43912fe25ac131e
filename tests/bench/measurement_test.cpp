// What measure() makes of runs, on an invented machine whose clock and ceilings are known.
#include "bench/measurement.h"

#include <gtest/gtest.h>

namespace invar {
namespace {

// Every run takes the next of some durations; choosing a token takes 0.25 s, preparing 100 s.
class InventedMachine final : public Subject {
  public:
    explicit InventedMachine(std::vector<double> seconds_of_runs) : seconds_of_runs_(std::move(seconds_of_runs)) {}

    Result<void> prepare(const Work&) override {
        happened_ += 'p';
        now_ += 100;
        return {};
    }
    Result<void> run(const Work&) override {
        happened_ += 'r';
        if (runs_ == seconds_of_runs_.size()) return fail("out of runs");
        now_ += seconds_of_runs_[runs_++];
        return {};
    }
    Result<void> choose_token() override {
        happened_ += 't';
        now_ += 0.25;
        return {};
    }
    Result<WorkCost> cost(const Work&) override {
        happened_ += 'c';
        return WorkCost{.weight_bytes = 6'000'000'000,
                        .cache_bytes = 2'000'000'000,
                        .weight_multiply_adds = 40'000'000'000,
                        .attention_multiply_adds = 1};
    }
    MeasurementTools tools(int runs) {
        return {.ceilings =
                    [this] {
                        happened_ += 'm';
                        now_ += 10;
                        ++probes_;
                        return Ceilings{.read_gigabytes = 4.0 * probes_, .int8_multiply_adds = 100.0 * probes_};
                    },
                .clock = [this] { return now_; },
                .runs = runs};
    }
    const std::string& happened() const { return happened_; }

  private:
    std::vector<double> seconds_of_runs_;
    size_t runs_ = 0;
    int probes_ = 0;
    double now_ = 12345;
    std::string happened_;
};

TEST(Measurement, TimesTheRunAloneAndProbesOnBothSides) {
    InventedMachine machine({50, 2, 1, 4});
    const Work work{.kind = WorkKind::generation, .tokens = 8};
    const auto measured = measure(work, machine, machine.tools(3));
    ASSERT_TRUE(measured) << measured.error().message;
    EXPECT_EQ(machine.happened(), "prcmprmprmprm");
    EXPECT_EQ(measured->first.seconds, 50);  // the run that warms up is kept apart
    ASSERT_EQ(measured->runs.size(), 3u);
    EXPECT_EQ(measured->runs[0].seconds, 2);
    EXPECT_EQ(measured->tokens_per_second().median, 4);
    EXPECT_EQ(measured->tokens_per_second().low, 2);
    EXPECT_EQ(measured->tokens_per_second().high, 8);
    // The probes are 4, 8, 12, 16; a run's ceiling is the mean of its neighbours: 6, 10, 14.
    EXPECT_EQ(measured->runs[1].ceilings.read_gigabytes, 10);
    EXPECT_EQ(measured->runs[1].ceilings.int8_multiply_adds, 250);
}

TEST(Measurement, SharesAreOfTheCeilingOfTheSameRun) {
    InventedMachine machine({50, 2, 1, 4});
    const auto measured = measure({.kind = WorkKind::generation, .tokens = 8}, machine, machine.tools(3));
    ASSERT_TRUE(measured);
    // 8 GB in 2, 1, 4 s: 4, 8, 2 GB/s of 6, 10, 14. The ratio of the medians would be 4 / 10.
    EXPECT_EQ(measured->gigabytes_per_second().median, 4);
    EXPECT_DOUBLE_EQ(measured->share_of_read().median, 4.0 / 6);
    EXPECT_DOUBLE_EQ(measured->share_of_read().low, 2.0 / 14);
    EXPECT_DOUBLE_EQ(measured->share_of_read().high, 8.0 / 10);
    // 40 G multiply-adds in 2, 1, 4 s: 20, 40, 10 of 150, 250, 350.
    EXPECT_EQ(measured->giga_multiply_adds_per_second().median, 20);
    EXPECT_DOUBLE_EQ(measured->share_of_int8().median, 20.0 / 150);
    EXPECT_DOUBLE_EQ(measured->share_of_int8().high, 40.0 / 250);
    EXPECT_TRUE(measured->reads_are_known());
}

TEST(Measurement, CountsTheTokensOfAllSequences) {
    InventedMachine machine({50, 2});
    const Work work{.kind = WorkKind::sequences, .tokens = 8, .sequences = 16};
    const auto measured = measure(work, machine, machine.tools(1));
    ASSERT_TRUE(measured);
    EXPECT_EQ(measured->tokens_per_second().median, 64);
}

TEST(Measurement, FirstTokenIsThePromptAndTheChoice) {
    InventedMachine machine({50, 2, 3});
    const auto measured = measure({.kind = WorkKind::prompt, .tokens = 12}, machine, machine.tools(2));
    ASSERT_TRUE(measured);
    EXPECT_EQ(machine.happened(), "prtcmprtmprtm");
    EXPECT_EQ(measured->first.first_token_seconds, 50.25);
    EXPECT_EQ(measured->first_token_seconds().low, 2.25);
    EXPECT_EQ(measured->tokens_per_second().high, 6);  // the choice is no part of the prompt's speed
}

TEST(Measurement, PassesErrorsOn) {
    InventedMachine machine({50, 2});
    const auto measured = measure({.kind = WorkKind::prompt, .tokens = 12}, machine, machine.tools(2));
    ASSERT_FALSE(measured);
    EXPECT_EQ(measured.error().message, "out of runs");
}

}  // namespace
}  // namespace invar
