// Activation quantisation against its definition evaluated in binary64, and at its edges.
#include "arithmetic/quantize.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

namespace invar {
namespace {

uint32_t bits(float value) { return std::bit_cast<uint32_t>(value); }

QuantizedBlock quantized(const std::vector<float>& x) {
    QuantizedBlock block;
    quantize_row(x.data(), 32, &block);
    return block;
}

// A product or quotient of two binary32 in binary64, rounded once more to binary32, equals the correctly rounded one:
// 53 bits are more than twice 24 and 2 (for normal results). The scale of the codes is one such quotient, each code one
// product.
TEST(QuantizeRow, EqualsTheDefinitionEvaluatedInBinary64) {
    std::mt19937_64 random(11);
    int64_t codes = 0, ties = 0;
    for (int trial = 0; trial < 20000; ++trial) {
        std::vector<float> x(32);
        const double size = std::ldexp(1.0, static_cast<int>(random() % 200) - 97);  // down to 2^-97 = 6e-30
        for (float& value : x) {
            const auto draw = static_cast<int32_t>(random());
            value = static_cast<float>(size * (trial % 4 == 0 ? draw % 255 * 0.5 : draw * 0x1p-24));
        }
        if (trial % 4 == 0)
            x[trial % 32] = static_cast<float>(size * 127);  // 127 / amax * x ends in .5 exactly, at times
        const QuantizedBlock block = quantized(x);
        double amax = 0.0;
        for (const float value : x) amax = std::max(amax, std::fabs(double{value}));
        const float inverse = static_cast<float>(127.0 / amax);
        int32_t sum = 0;
        for (int i = 0; i < 32; ++i) {
            const double product = double{static_cast<float>(double{x[i]} * inverse)};
            double nearest = std::floor(product + 0.5);
            if (nearest - product == 0.5 && std::fmod(nearest, 2.0) != 0.0) nearest -= 1.0;
            ties += std::fabs(product - std::trunc(product)) == 0.5;
            ASSERT_EQ(block.q[i], nearest) << x[i] << " under " << amax;
            sum += block.q[i];
            ++codes;
        }
        ASSERT_EQ(bits(block.d), bits(static_cast<float>(amax / 127.0)));
        ASSERT_EQ(block.sum, sum);
        ASSERT_EQ(bits(block.sx), bits(static_cast<float>(double{block.d} * sum)));
    }
    EXPECT_GT(ties, 1000);
    std::printf("[equality] %lld codes compared, %lld of them ties\n", static_cast<long long>(codes),
                static_cast<long long>(ties));
}

TEST(QuantizeRow, ABlockIsZeroBelowTheThresholdAndNotAtIt) {
    std::vector<float> x(32, 0.0f);
    x[5] = -kZeroBlockBelow;
    x[6] = kZeroBlockBelow / 2;
    EXPECT_EQ(quantized(x).q[5], -127);
    EXPECT_EQ(bits(quantized(x).d), bits(1e-30f / 127.0f));
    x[5] = std::nextafter(-kZeroBlockBelow, 0.0f);
    for (const float value : {x[5], 1e-39f, 0.0f}) {
        x[5] = value;
        x[6] = value / 2;
        const QuantizedBlock zero = quantized(x);
        for (const int8_t code : zero.q) EXPECT_EQ(code, 0);
        EXPECT_EQ(bits(zero.d), 0u);
        EXPECT_EQ(zero.sum, 0);
        EXPECT_EQ(bits(zero.sx), 0u);
    }
}

TEST(QuantizeRow, CodesReach127AndNeverMinus128) {
    std::mt19937_64 random(12);
    for (int trial = 0; trial < 100000; ++trial) {
        // 127 / amax rounds up for some amax; the product with amax must still round to 127.
        std::vector<float> x(32, 0.0f);
        const uint32_t pattern = 0x0DA24260u + static_cast<uint32_t>(random() % (0x7F800000u - 0x0DA24260u));
        x[0] = std::bit_cast<float>(pattern);
        x[1] = -x[0];
        const QuantizedBlock block = quantized(x);
        ASSERT_EQ(block.q[0], 127) << x[0];
        ASSERT_EQ(block.q[1], -127) << x[0];
        ASSERT_TRUE(std::isfinite(block.d)) << x[0];
    }
}

TEST(QuantizeRow, ANaNOrInfinityMakesTheScaleNaNAndTheCodesZero) {
    for (const float bad : {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::quiet_NaN(),
                            std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity()}) {
        for (int place = 0; place < 32; ++place) {
            std::vector<float> x(64, 1.0f);
            x[place] = bad;
            QuantizedBlock blocks[2];
            quantize_row(x.data(), 64, blocks);
            EXPECT_TRUE(std::isnan(blocks[0].d) && std::isnan(blocks[0].sx));
            EXPECT_EQ(blocks[0].sum, 0);
            for (const int8_t code : blocks[0].q) EXPECT_EQ(code, 0);
            EXPECT_EQ(blocks[1].q[0], 127);
            EXPECT_EQ(blocks[1].sum, 32 * 127);
        }
    }
}

}  // namespace
}  // namespace invar
