// RoPE: frequencies and angles against the formulas of `transformers` in float64 (tests/data/arithmetic/rope.txt), the
// turn against geometry, and the refusals.
#include "arithmetic/rope.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <fstream>
#include <random>
#include <sstream>
#include <string>
#include <vector>

namespace invar {
namespace {

RopeSpec plain(int width) {
    RopeSpec spec;
    spec.rotary_width = spec.head_width = width;
    spec.base = 10000;
    return spec;
}

TEST(Rope, TablesAgreeWithTheFormulasOfTransformers) {
    std::ifstream file(INVAR_TEST_DATA "/arithmetic/rope.txt");
    double frequency_error = 0, angle_error = 0;
    int cases = 0, angles = 0;
    for (std::string line; std::getline(file, line); ++cases) {
        std::istringstream words(line);
        std::string kind;
        RopeSpec spec = plain(0);
        double original = 0, attention = 0;
        words >> kind >> spec.base >> spec.rotary_width >> spec.factor >> original >> spec.beta_fast >>
            spec.beta_slow >> attention;
        spec.head_width = spec.rotary_width;
        spec.original_context = original;
        if (kind == "linear") spec.scaling = RopeSpec::Scaling::linear;
        if (kind.starts_with("yarn")) spec.scaling = RopeSpec::Scaling::yarn;
        spec.whole_boundaries = kind != "yarn_open";
        if (kind == "turning") spec.turning_pairs = static_cast<int>(original);
        if (kind == "llama3")
            spec.frequency_factors =
                llama3_frequency_factors(spec, {.factor = spec.factor, .original_context = original});
        const RopeTable table(spec);
        EXPECT_NEAR(table.attention_factor(), attention, 1e-15) << line.substr(0, 60);
        // Llama 3's factors are computed in f32, as a file holds them.
        const double tolerance = kind == "llama3" ? 3e-7 : 4e-16;
        for (const double frequency : table.frequencies()) {
            double expected = 0;
            words >> expected;
            const double error = expected == 0 ? std::fabs(frequency) : std::fabs(frequency / expected - 1);
            EXPECT_LE(error, tolerance) << line.substr(0, 60);
            if (kind != "llama3") frequency_error = std::max(frequency_error, error);
        }
        std::vector<float> cosines(spec.pairs()), sines(spec.pairs());
        int64_t position = 0;
        while (words >> position) {
            table.angles(position, cosines.data(), sines.data());
            for (const auto* values : {&cosines, &sines}) {
                for (const float value : *values) {
                    double expected = 0;
                    words >> expected;
                    if (kind == "llama3") continue;
                    // half an ulp of a number below 2, and the frequency's rounding times the position
                    EXPECT_NEAR(value, expected, 6.1e-8 * std::max(1.0, attention) + 4e-16 * double(position));
                    angle_error = std::max(angle_error, std::fabs(value - expected));
                    ++angles;
                }
            }
        }
    }
    std::printf("[accuracy] %d specifications: frequencies within %.2g (relative), %d cosines and sines within %.2g\n",
                cases, frequency_error, angles, angle_error);
    EXPECT_EQ(cases, 14);
    EXPECT_GT(angles, 2000);
}

TEST(Rope, PairingsTurnTheSameVectorsInDifferentPlaces) {
    constexpr int kWidth = 8;
    RopeSpec halves = plain(kWidth);
    RopeSpec adjacent = halves;
    adjacent.pairing = RopePairing::adjacent;
    std::vector<float> cosines(4), sines(4);
    RopeTable(halves).angles(17, cosines.data(), sines.data());
    std::vector<float> a(kWidth), b(kWidth);
    for (int i = 0; i < 4; ++i) {
        a[i] = b[2 * i] = float(i + 1);
        a[i + 4] = b[2 * i + 1] = float(i) - 2.5f;
    }
    law::rope(halves, cosines.data(), sines.data(), a.data());
    law::rope(adjacent, cosines.data(), sines.data(), b.data());
    for (int i = 0; i < 4; ++i) {
        EXPECT_EQ(a[i], b[2 * i]);
        EXPECT_EQ(a[i + 4], b[2 * i + 1]);
        const double x0 = i + 1, x1 = i - 2.5, angle = 17 * std::pow(10000.0, -2.0 * i / kWidth);
        EXPECT_NEAR(a[i], x0 * std::cos(angle) - x1 * std::sin(angle), 1e-6);
        EXPECT_NEAR(a[i + 4], x1 * std::cos(angle) + x0 * std::sin(angle), 1e-6);
    }
}

TEST(Rope, DotProductsDependOnTheDistanceOnly) {
    const RopeSpec spec = plain(64);
    const RopeTable table(spec);
    std::mt19937 random(3);
    std::normal_distribution<float> normal;
    std::vector<float> query(64), key(64), cosines(32), sines(32);
    for (float& x : query) x = normal(random);
    for (float& x : key) x = normal(random);
    const auto turned_dot = [&](int64_t query_position, int64_t key_position) {
        std::vector<float> q = query, k = key;
        table.angles(query_position, cosines.data(), sines.data());
        law::rope(spec, cosines.data(), sines.data(), q.data());
        table.angles(key_position, cosines.data(), sines.data());
        law::rope(spec, cosines.data(), sines.data(), k.data());
        double dot = 0;
        for (int i = 0; i < 64; ++i) dot += double(q[i]) * k[i];
        return dot;
    };
    const double near = turned_dot(12, 5);
    EXPECT_NEAR(turned_dot(1000012, 1000005), near, 1e-5);
    EXPECT_GT(std::fabs(turned_dot(13, 5) - near), 1e-3);
}

TEST(Rope, LeavesElementsPastTheRotaryWidthAlone) {
    RopeSpec spec = plain(4);
    spec.head_width = 6;
    std::vector<float> cosines(2), sines(2), head = {1, 2, 3, 4, 5, 6};
    RopeTable(spec).angles(3, cosines.data(), sines.data());
    law::rope(spec, cosines.data(), sines.data(), head.data());
    EXPECT_NE(head[0], 1);
    EXPECT_NE(head[3], 4);
    EXPECT_EQ(head[4], 5);
    EXPECT_EQ(head[5], 6);
}

TEST(Rope, PositionZeroTurnsNothingAndYarnStillScales) {
    RopeSpec spec = plain(8);
    std::vector<float> cosines(4), sines(4);
    RopeTable(spec).angles(0, cosines.data(), sines.data());
    EXPECT_EQ(cosines[0], 1.0f);
    EXPECT_EQ(sines[3], 0.0f);
    spec.scaling = RopeSpec::Scaling::yarn;
    spec.factor = 4;
    spec.original_context = 32768;
    RopeTable(spec).angles(0, cosines.data(), sines.data());
    EXPECT_NEAR(cosines[0], 0.1 * std::log(4.0) + 1, 1e-7);
    // A model that says its attention factor is 1 (DeepSeek-V2: mscale / mscale_all_dim) gets cosines of 1.
    spec.attn_factor = 1.0 / yarn_attention(4, 1);
    EXPECT_EQ(RopeTable(spec).attention_factor(), 1.0);
}

TEST(Rope, YarnWithoutExtrapolationIsLinear) {
    RopeSpec spec = plain(64);
    spec.scaling = RopeSpec::Scaling::yarn;
    spec.factor = 8;
    spec.original_context = 4096;
    spec.ext_factor = 0;
    RopeSpec linear = spec;
    linear.scaling = RopeSpec::Scaling::linear;
    EXPECT_EQ(RopeTable(spec).frequencies(), RopeTable(linear).frequencies());
    EXPECT_EQ(RopeTable(linear).attention_factor(), 1.0);
}

TEST(Rope, RefusesImpossibleSpecifications) {
    const auto refused = [](auto change) {
        RopeSpec spec = plain(64);
        change(spec);
        const auto result = validate(spec);
        return result ? std::string() : result.error().message;
    };
    EXPECT_EQ(refused([](RopeSpec&) {}), "");
    EXPECT_NE(refused([](RopeSpec& s) { s.rotary_width = 63; }).find("63 of 64"), std::string::npos);
    EXPECT_NE(refused([](RopeSpec& s) { s.head_width = 32; }).find("64 of 32"), std::string::npos);
    EXPECT_NE(refused([](RopeSpec& s) { s.base = 0; }).find("base 0"), std::string::npos);
    EXPECT_NE(refused([](RopeSpec& s) { s.base = NAN; }).find("base nan"), std::string::npos);
    EXPECT_NE(refused([](RopeSpec& s) {
                  s.frequency_factors = {1, 2};
              }).find("2 rope frequency factors"),
              std::string::npos);
    EXPECT_NE(refused([](RopeSpec& s) { s.frequency_factors.assign(32, 0.0f); }).find("factor 0"), std::string::npos);
    EXPECT_NE(refused([](RopeSpec& s) {
                  s.scaling = RopeSpec::Scaling::yarn;
                  s.factor = 4;
              }).find("original context 0"),
              std::string::npos);
    EXPECT_NE(refused([](RopeSpec& s) {
                  s.scaling = RopeSpec::Scaling::linear;
                  s.factor = -1;
              }).find("factor -1"),
              std::string::npos);
}

// By llama.cpp's converter (torch, binary32): tests/data/goldens_hf/llama.gguf.
TEST(Rope, Llama3FactorsAreThoseOfTheConverterToTheBit) {
    RopeSpec spec{.rotary_width = 16, .head_width = 16, .base = 500000};
    const std::vector<float> factors = llama3_frequency_factors(spec, {.original_context = 64});
    EXPECT_EQ(factors, (std::vector<float>{1.0f, 0x1.389bf6p+1f, 8.0f, 8.0f, 8.0f, 8.0f, 8.0f, 8.0f}));
}

}  // namespace
}  // namespace invar
