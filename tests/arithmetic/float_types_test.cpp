// Small float types, exhaustively: every pattern widened against its meaning in binary64, every rounding boundary
// narrowed, and random binary32 against a search of the nearest pattern.
#include "arithmetic/float_types.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

namespace invar {
namespace {

// The value of a pattern with `exponent_bits` and `mantissa_bits`, as IEEE 754 says, in binary64; infinity and NaN
// apart.
double meaning(uint32_t pattern, int exponent_bits, int mantissa_bits) {
    const int bias = (1 << (exponent_bits - 1)) - 1;
    const int exponent = static_cast<int>(pattern >> mantissa_bits) & ((1 << exponent_bits) - 1);
    const double mantissa = pattern & ((1u << mantissa_bits) - 1);
    const double magnitude =
        exponent == 0 ? std::ldexp(mantissa, 1 - bias - mantissa_bits)
                      : std::ldexp(std::ldexp(1.0, mantissa_bits) + mantissa, exponent - bias - mantissa_bits);
    return pattern >> (exponent_bits + mantissa_bits) != 0 ? -magnitude : magnitude;
}

uint32_t bits(float value) { return std::bit_cast<uint32_t>(value); }

TEST(FloatTypesExhaustive, EveryBinary16WidensToItsMeaningAndBack) {
    int finite = 0;
    for (uint32_t h = 0; h < 65536; ++h) {
        const float wide = f16_to_f32(static_cast<uint16_t>(h));
        if ((h & 0x7C00) == 0x7C00) {
            ASSERT_EQ(std::isnan(wide), (h & 0x3FF) != 0) << h;
            if ((h & 0x3FF) == 0) {
                ASSERT_EQ(wide, h >> 15 ? -INFINITY : INFINITY);
            }
            ASSERT_EQ(f32_to_f16(wide), (h & 0x3FF) != 0 ? h | 0x200 : h);  // NaN becomes quiet
            continue;
        }
        ASSERT_EQ(double{wide}, meaning(h, 5, 10)) << h;
        ASSERT_EQ(std::signbit(wide), h >> 15 != 0) << h;
        ASSERT_EQ(f32_to_f16(wide), h);
        ++finite;
    }
    EXPECT_EQ(finite, 65536 - 2048);
}

TEST(FloatTypesExhaustive, EveryBfloat16WidensToItsMeaningAndBack) {
    for (uint32_t h = 0; h < 65536; ++h) {
        const float wide = bf16_to_f32(static_cast<uint16_t>(h));
        ASSERT_EQ(bits(wide), h << 16);
        if (std::isnan(wide)) {
            ASSERT_EQ(f32_to_bf16(wide), h | 0x40);
            continue;
        }
        if (std::isfinite(wide)) {
            ASSERT_EQ(double{wide}, meaning(h, 8, 7)) << h;
        }
        ASSERT_EQ(f32_to_bf16(wide), h);
    }
}

TEST(FloatTypesExhaustive, EveryE4M3WidensToItsMeaningAndBack) {
    for (uint32_t b = 0; b < 256; ++b) {
        const float wide = e4m3_to_f32(static_cast<uint8_t>(b));
        if ((b & 0x7F) == 0x7F) {
            ASSERT_TRUE(std::isnan(wide));
            ASSERT_EQ(f32_to_e4m3(wide), 0x7F);
            continue;
        }
        ASSERT_EQ(double{wide}, meaning(b, 4, 3)) << b;
        ASSERT_EQ(std::signbit(wide), b >> 7 != 0) << b;
        ASSERT_EQ(f32_to_e4m3(wide), b);
    }
    EXPECT_EQ(e4m3_to_f32(0x7E), 448.0f);
    EXPECT_EQ(e4m3_to_f32(0x01), 0x1p-9f);
}

TEST(FloatTypesExhaustive, EveryScaleByteOfGgufNvfp4AndOfMxfp4) {
    for (uint32_t b = 0; b < 256; ++b) {
        const float scale = ue4m3_to_f32(static_cast<uint8_t>(b));
        ASSERT_EQ(double{scale}, b == 0x7F ? 0.0 : meaning(b & 0x7F, 4, 3)) << b;
        ASSERT_FALSE(std::signbit(scale)) << b;
        const float power = e8m0_to_f32(static_cast<uint8_t>(b)), half = e8m0_half_to_f32(static_cast<uint8_t>(b));
        ASSERT_EQ(double{half}, std::ldexp(1.0, static_cast<int>(b) - 128)) << b;
        if (b == 255) {
            ASSERT_TRUE(std::isnan(power));
        } else {
            ASSERT_EQ(double{power}, std::ldexp(1.0, static_cast<int>(b) - 127)) << b;
        }
    }
}

// Between two neighbours lies one midpoint, exact in binary32: below it the lower one is next, above it the upper one,
// at it the even one. `count` patterns from 0 on are finite; the overflow midpoint is the one after the last.
template <class Narrow, class Widen>
int64_t check_boundaries(uint32_t count, uint32_t sign_bit, double beyond_last, uint32_t overflow, Narrow narrow,
                         Widen widen) {
    int64_t checked = 0;
    for (uint32_t pattern = 0; pattern < count; ++pattern) {
        const double lower = widen(pattern);
        const double upper = pattern + 1 < count ? double{widen(pattern + 1)} : beyond_last;
        const uint32_t next = pattern + 1 < count ? pattern + 1 : overflow;
        const double exact_middle = (lower + upper) / 2;
        const float middle = static_cast<float>(exact_middle);
        if (double{middle} != exact_middle) continue;  // between the two smallest bfloat16, say: never, counted below
        const uint32_t even = pattern % 2 == 0 ? pattern : next;
        const float below = std::nextafter(middle, -INFINITY), above = std::nextafter(middle, INFINITY);
        const bool right = narrow(middle) == even && narrow(below) == pattern && narrow(above) == next &&
                           narrow(-middle) == (even | sign_bit) && narrow(-below) == (pattern | sign_bit) &&
                           narrow(-above) == (next | sign_bit);
        EXPECT_TRUE(right) << "pattern " << pattern << " and its successor, around " << middle;
        if (!right) break;
        ++checked;
    }
    return checked;
}

TEST(FloatTypesExhaustive, EveryRoundingBoundaryGoesToTheNearestAndTiesToEven) {
    EXPECT_EQ(check_boundaries(
                  0x7C00, 0x8000, 65536.0, 0x7C00, [](float v) { return uint32_t{f32_to_f16(v)}; },
                  [](uint32_t p) { return f16_to_f32(static_cast<uint16_t>(p)); }),
              0x7C00);
    EXPECT_EQ(check_boundaries(
                  0x7F80, 0x8000, 0x1p128, 0x7F80, [](float v) { return uint32_t{f32_to_bf16(v)}; },
                  [](uint32_t p) { return bf16_to_f32(static_cast<uint16_t>(p)); }),
              0x7F80);
    // E4M3 saturates: beyond 448 comes 448.
    EXPECT_EQ(check_boundaries(
                  0x7E, 0x80, 448.0, 0x7E, [](float v) { return uint32_t{f32_to_e4m3(v)}; },
                  [](uint32_t p) { return e4m3_to_f32(static_cast<uint8_t>(p)); }),
              0x7E);
    for (const float beyond : {448.5f, 480.0f, 1e10f, INFINITY}) {
        EXPECT_EQ(f32_to_e4m3(beyond), 0x7E);
        EXPECT_EQ(f32_to_e4m3(-beyond), 0xFE);
    }
    EXPECT_EQ(f32_to_f16(INFINITY), 0x7C00);
    EXPECT_EQ(f32_to_f16(-1e38f), 0xFC00);
    EXPECT_EQ(f32_to_bf16(-INFINITY), 0xFF80);
}

TEST(FloatTypes, NarrowingIsMonotoneOverRandomPairs) {
    // With exact boundaries, monotone in between means right everywhere.
    std::mt19937_64 random(1);
    for (int i = 0; i < 2000000; ++i) {
        const uint32_t a = static_cast<uint32_t>(random()) % 0x7F800000u;
        const uint32_t b =
            static_cast<uint32_t>(random()) % 2 != 0 ? a + 1 : static_cast<uint32_t>(random()) % 0x7F800000u;
        const float low = std::bit_cast<float>(std::min(a, b)), high = std::bit_cast<float>(std::max(a, b));
        ASSERT_LE(f32_to_f16(low), f32_to_f16(high)) << low << " " << high;
        ASSERT_LE(f32_to_bf16(low), f32_to_bf16(high)) << low << " " << high;
        ASSERT_LE(f32_to_e4m3(low), f32_to_e4m3(high)) << low << " " << high;
    }
}

TEST(FloatTypes, ConversionsAreConstantExpressions) {
    static_assert(f16_to_f32(0x3C00) == 1.0f && f32_to_f16(-2.0f) == 0xC000 && f16_to_f32(0x0001) == 0x1p-24f);
    static_assert(bf16_to_f32(0x3F80) == 1.0f && f32_to_bf16(1.0f) == 0x3F80);
    static_assert(e4m3_to_f32(0x38) == 1.0f && f32_to_e4m3(1.0f) == 0x38 && ue4m3_to_f32(0x38) == 1.0f);
    static_assert(e8m0_to_f32(127) == 1.0f && e8m0_half_to_f32(127) == 0.5f);
}

}  // namespace
}  // namespace invar
