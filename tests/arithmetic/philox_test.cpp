// Philox4x32-10 against the vectors published with Random123 (kat_vectors), and the uniform number made from it.
#include "arithmetic/philox.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <vector>

namespace invar {
namespace {

using Words = std::array<uint32_t, 4>;

TEST(Philox, GivesThePublishedVectors) {
    EXPECT_EQ(law::philox4x32({0, 0, 0, 0}, {0, 0}), (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
    EXPECT_EQ(law::philox4x32({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}),
              (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
    EXPECT_EQ(law::philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
              (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Philox, UniformUsesSeedPositionAndDraw) {
    EXPECT_EQ(law::uniform(0, 0), static_cast<float>(0x6627e8d5u >> 8) * 0x1p-24f);
    const uint64_t seed = 0x299f31d0a4093822ull, position = 0x85a308d3243f6a88ull;
    const Words words = law::philox4x32({0x243f6a88, 0x85a308d3, 7, 0}, {0xa4093822, 0x299f31d0});
    EXPECT_EQ(law::uniform(seed, position, 7), static_cast<float>(words[0] >> 8) * 0x1p-24f);
    EXPECT_NE(law::uniform(1, 0), law::uniform(uint64_t{1} << 32, 0));
    EXPECT_NE(law::uniform(1, 5), law::uniform(1, uint64_t{5} << 32));
}

TEST(Philox, UniformFillsTheUnitIntervalEvenly) {
    constexpr int kBins = 100, kDraws = 100000;
    std::vector<int> counts(kBins);
    for (int position = 0; position < kDraws; ++position) {
        const float u = law::uniform(42, static_cast<uint64_t>(position));
        ASSERT_GE(u, 0.0f);
        ASSERT_LT(u, 1.0f);
        ++counts[static_cast<int>(u * kBins)];
    }
    double chi_square = 0;
    for (const int count : counts) chi_square += std::pow(count - kDraws / kBins, 2) / (kDraws / kBins);
    std::printf("[distribution] chi-square of %d bins: %.1f (99.9 %% below 148.2)\n", kBins, chi_square);
    EXPECT_LT(chi_square, 148.2);
}

}  // namespace
}  // namespace invar
