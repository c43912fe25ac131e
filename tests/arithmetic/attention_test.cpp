// Attention by the law: against a float64 evaluation, and the equalities that the chunk rule promises. The bits are
// compared with an independent evaluation in law_fixture_test.cpp.
#include "arithmetic/attention.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdio>
#include <random>
#include <vector>

namespace invar {
namespace {

constexpr int kHeadWidth = 32, kValueWidth = 24, kPositions = 400;

struct Rows {
    std::vector<float> keys, values, query;

    explicit Rows(uint32_t seed, float spread = 1)
        : keys(kPositions * kHeadWidth), values(kPositions * kValueWidth), query(kHeadWidth) {
        std::mt19937 random(seed);
        std::normal_distribution<float> normal(0, 1);
        for (float& x : keys) x = normal(random) * spread;
        for (float& x : values) x = normal(random);
        for (float& x : query) x = normal(random);
    }
    CachedRow key() const {
        return [this](int64_t t) { return keys.data() + t * kHeadWidth; };
    }
    CachedRow value() const {
        return [this](int64_t t) { return values.data() + t * kValueWidth; };
    }
};

AttentionSpec plain() {
    return {
        .head_width = kHeadWidth, .value_width = kValueWidth, .scale = 1 / std::sqrt(32.0f), .softcap = 0, .sink = {}};
}

std::vector<float> attend(const AttentionSpec& spec, const Rows& rows, VisiblePositions visible) {
    std::vector<float> out(kValueWidth);
    law::attention_head(spec, rows.query.data(), visible, rows.key(), rows.value(), out.data());
    return out;
}

std::vector<double> attend_in_float64(const AttentionSpec& spec, const Rows& rows, VisiblePositions visible) {
    std::vector<double> out(kValueWidth);
    double total = spec.sink ? std::exp(double(*spec.sink)) : 0;
    for (int64_t t = visible.first; t < visible.last; ++t) {
        double score = 0;
        for (int i = 0; i < kHeadWidth; ++i) score += double(rows.query[i]) * rows.keys[t * kHeadWidth + i];
        score *= spec.scale;
        if (spec.softcap != 0) score = spec.softcap * std::tanh(score / spec.softcap);
        const double e = std::exp(score);
        total += e;
        for (int i = 0; i < kValueWidth; ++i) out[i] += e * rows.values[t * kValueWidth + i];
    }
    for (double& x : out) x /= total;
    return out;
}

int count_differences(const std::vector<float>& a, const std::vector<float>& b) {
    int different = a.size() != b.size();
    for (size_t i = 0; i < a.size(); ++i) different += std::bit_cast<uint32_t>(a[i]) != std::bit_cast<uint32_t>(b[i]);
    return different;
}

TEST(Attention, StaysNearAFloat64Evaluation) {
    double largest = 0;
    int compared = 0;
    for (const VisiblePositions visible :
         {VisiblePositions{0, 1}, {0, 64}, {0, 65}, {0, 400}, {100, 301}, {63, 64}, {320, 400}}) {
        for (const float softcap : {0.0f, 5.0f}) {
            for (const bool sink : {false, true}) {
                AttentionSpec spec = plain();
                spec.softcap = softcap;
                if (sink) spec.sink = 1.25f;
                const Rows rows(static_cast<uint32_t>(visible.last), 2);
                const std::vector<float> out = attend(spec, rows, visible);
                const std::vector<double> truth = attend_in_float64(spec, rows, visible);
                for (int i = 0; i < kValueWidth; ++i, ++compared)
                    largest = std::max(largest, std::fabs(out[i] - truth[i]));
            }
        }
    }
    std::printf("[accuracy] %d outputs of magnitude 1 compared with float64, largest difference %.3g\n", compared,
                largest);
    EXPECT_LT(largest, 3e-6);
}

TEST(Attention, ChunksComputedInAnyOrderMergeToTheSameBits) {
    const Rows rows(7);
    const AttentionSpec spec = plain();
    const VisiblePositions visible{70, 390};
    std::vector<AttentionChunk> chunks(7);
    for (int64_t chunk = visible.last_chunk(); chunk >= visible.first_chunk(); --chunk)
        chunks[chunk] = law::compute_chunk(spec, rows.query.data(), chunk, visible, rows.key(), rows.value());
    AttentionChunk state = chunks[visible.first_chunk()];
    for (int64_t chunk = visible.first_chunk() + 1; chunk <= visible.last_chunk(); ++chunk)
        law::merge(state, chunks[chunk]);
    std::vector<float> out(kValueWidth);
    law::finish_attention(spec, state, out.data());
    EXPECT_EQ(count_differences(out, attend(spec, rows, visible)), 0);
    // The merge is not associative: the order is part of the law, and a wrong one shows.
    AttentionChunk reversed = chunks[visible.last_chunk()];
    for (int64_t chunk = visible.last_chunk() - 1; chunk >= visible.first_chunk(); --chunk)
        law::merge(reversed, chunks[chunk]);
    law::finish_attention(spec, reversed, out.data());
    EXPECT_GT(count_differences(out, attend(spec, rows, visible)), 0);
}

TEST(Attention, PositionsOutsideTheWindowDoNotMatter) {
    Rows rows(8);
    const VisiblePositions visible{37, 210};
    const std::vector<float> before = attend(plain(), rows, visible);
    for (int64_t t = 0; t < kPositions; ++t)
        if (t < visible.first || t >= visible.last)
            for (int i = 0; i < kHeadWidth; ++i) rows.keys[t * kHeadWidth + i] = NAN;
    EXPECT_EQ(count_differences(before, attend(plain(), rows, visible)), 0);
    rows.keys[37 * kHeadWidth] += 1;
    EXPECT_GT(count_differences(before, attend(plain(), rows, visible)), 0);
}

// Each reach by its definition, position by position.
bool sees(Reach reach, int64_t window, int64_t from, int64_t to) {
    switch (reach) {
        case Reach::causal:
            return to <= from && (window == 0 || from - to < window);
        case Reach::in_blocks:
            return to <= from && (window == 0 || from / window == to / window);
        case Reach::both_ways:
            return window == 0 || 2 * std::abs(from - to) <= window;
    }
    return false;
}

TEST(Attention, TheVisiblePositionsOfEveryReachAreThoseOfItsDefinition) {
    int64_t compared = 0;
    for (const Reach reach : {Reach::causal, Reach::in_blocks, Reach::both_ways}) {
        for (const int64_t window : {0, 1, 2, 3, 4, 5, 6, 7, 16, 63, 64, 65, 1000}) {
            for (const int64_t end : {1, 2, 7, 64, 65, 130}) {
                for (int64_t position = 0; position < end; ++position) {
                    const VisiblePositions visible = law::visible_positions(reach, window, position, end);
                    ASSERT_LE(visible.first, position);
                    ASSERT_GT(visible.last, position);
                    for (int64_t t = 0; t < end; ++t, ++compared) {
                        ASSERT_EQ(t >= visible.first && t < visible.last, sees(reach, window, position, t))
                            << "reach " << static_cast<int>(reach) << ", window " << window << ", " << position
                            << " sees " << t << " of " << end;
                    }
                    ASSERT_LE(visible.last, end);
                }
            }
        }
    }
    EXPECT_GT(compared, 500'000);
}

TEST(Attention, OnePositionReturnsItsValue) {
    const Rows rows(9);
    const std::vector<float> out = attend(plain(), rows, {123, 124});
    EXPECT_EQ(count_differences(out, std::vector<float>(rows.values.begin() + 123 * kValueWidth,
                                                        rows.values.begin() + 124 * kValueWidth)),
              0);
}

TEST(Attention, ScoresFarApartGiveNoNan) {
    Rows rows(10, 1e4f);
    for (const float x : attend(plain(), rows, {0, 400})) EXPECT_TRUE(std::isfinite(x));
    AttentionSpec spec = plain();
    spec.sink = 1e30f;  // takes everything
    for (const float x : attend(spec, rows, {0, 400})) EXPECT_EQ(x, 0.0f);
    spec.sink = -1e30f;  // takes nothing
    EXPECT_EQ(count_differences(attend(spec, rows, {0, 400}), attend(plain(), rows, {0, 400})), 0);
}

TEST(Attention, SoftcapBoundsTheScores) {
    const Rows rows(11, 100);
    AttentionSpec spec = plain();
    spec.softcap = 30;
    for (int64_t t = 0; t < kPositions; ++t) {
        const float score = law::attention_score(spec, rows.query.data(), rows.key()(t));
        EXPECT_LE(std::fabs(score), 30.0f);
    }
}

}  // namespace
}  // namespace invar
