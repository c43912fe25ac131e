// Reduce law, RMSNorm and softmax: orders made visible, and float64 as the measure of accuracy. The bits are compared
// with an independent evaluation in law_fixture_test.cpp.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <random>
#include <vector>

#include "arithmetic/norm.h"
#include "arithmetic/reduce.h"
#include "arithmetic/softmax.h"

namespace invar {
namespace {

std::vector<float> normal_row(int64_t n, uint32_t seed, float spread = 1) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal(0, spread);
    std::vector<float> row(n);
    for (float& x : row) x = normal(random);
    return row;
}

TEST(Reduce, SumsNothingToPlusZero) {
    EXPECT_EQ(law::sum(nullptr, 0), 0.0f);
    EXPECT_FALSE(std::signbit(law::sum(nullptr, 0)));
    const float minus_zero = -0.0f;
    EXPECT_FALSE(std::signbit(law::sum(&minus_zero, 1)));
}

TEST(Reduce, AddsLanesBeforeNeighbours) {
    // 2^24 + 1 + 1: neighbours of one lane round the ones away, other lanes meet first.
    std::vector<float> row(768, 0.0f);
    row[0] = 0x1p24f;
    row[256] = row[512] = 1;
    EXPECT_EQ(law::sum(row.data(), 768), 0x1p24f);
    row[256] = row[512] = 0;
    row[1] = row[129] = 1;  // 129 folds onto 1 before 1 folds onto 0
    EXPECT_EQ(law::sum(row.data(), 768), 0x1p24f + 2);
}

TEST(Reduce, SumOfSquaresRoundsOnce) {
    // fma(t, t, 1) with t = 2^-12 (1 + 2^-12): the square rounded first would lose its last bit.
    std::vector<float> row(257, 0.0f);
    row[0] = 1;
    row[256] = 0x1.001p-12f;
    EXPECT_EQ(law::sum_of_squares(row.data(), 257), std::fma(row[256], row[256], 1.0f));
}

TEST(Reduce, StaysNearAFloat64Sum) {
    double largest = 0;
    for (const int64_t n : {1, 31, 256, 257, 4096, 151936}) {
        const std::vector<float> row = normal_row(n, static_cast<uint32_t>(n));
        double squares = 0;
        for (const float x : row) squares += double(x) * x;
        largest = std::max(largest, std::fabs(law::sum_of_squares(row.data(), n) / squares - 1));
    }
    std::printf("[accuracy] sums of squares of 1 to 151936 elements: relative error %.3g\n", largest);
    EXPECT_LT(largest, 1e-6);
}

TEST(RmsNorm, StaysNearFloat64AndTakesOutliers) {
    double largest = 0;
    for (const int64_t n : {1, 128, 2560, 4096}) {
        std::vector<float> x = normal_row(n, static_cast<uint32_t>(n), 3), y(n);
        const std::vector<float> weight = normal_row(n, 77);
        x[0] = 1000;
        law::rms_norm(x.data(), weight.data(), n, 1e-6f, y.data());
        double squares = 0;
        for (const float value : x) squares += double(value) * value;
        const double factor = 1 / std::sqrt(squares / double(n) + double(1e-6f));
        for (int64_t i = 0; i < n; ++i)
            largest =
                std::max(largest, std::fabs(y[i] - x[i] * factor * weight[i]) / std::fabs(x[i] * factor * weight[i]));
    }
    std::printf("[accuracy] rms_norm: relative error %.3g\n", largest);
    EXPECT_LT(largest, 6e-7);
}

TEST(RmsNorm, OfZerosIsZeroAndWorksInPlace) {
    std::vector<float> x(64, 0.0f);
    law::rms_norm(x.data(), nullptr, 64, 1e-6f, x.data());
    for (const float value : x) EXPECT_EQ(value, 0.0f);
    std::vector<float> row = normal_row(300, 5), out(300);
    law::rms_norm(row.data(), nullptr, 300, 1e-5f, out.data());
    law::rms_norm(row.data(), nullptr, 300, 1e-5f, row.data());
    EXPECT_EQ(row, out);
}

TEST(Softmax, StaysNearFloat64) {
    double largest = 0;
    for (const int64_t n : {1, 8, 128, 151936}) {
        const std::vector<float> logits = normal_row(n, static_cast<uint32_t>(n) + 1, 4);
        std::vector<float> probabilities(n);
        law::softmax(logits.data(), n, probabilities.data());
        double total = 0;
        for (const float x : logits) total += std::exp(double(x));
        for (int64_t i = 0; i < n; ++i) {
            const double truth = std::exp(double(logits[i])) / total;
            largest = std::max(largest, std::fabs(probabilities[i] / truth - 1));
        }
    }
    std::printf("[accuracy] softmax: relative error %.3g\n", largest);
    EXPECT_LT(largest, 3e-6);
}

TEST(Softmax, GivesBannedLogitsNothing) {
    const std::vector<float> logits = {1, -INFINITY, 1, -INFINITY};
    std::vector<float> probabilities(4);
    law::softmax(logits.data(), 4, probabilities.data());
    EXPECT_EQ(probabilities, (std::vector<float>{0.5f, 0, 0.5f, 0}));
}

}  // namespace
}  // namespace invar
