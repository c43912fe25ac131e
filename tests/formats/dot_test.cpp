// The dot law of every format: against exact rational arithmetic (tools/fixtures/formats.py), against binary64, and the
// order of its strands.
#include <algorithm>
#include <limits>

#include "formats/fixtures.h"

namespace invar {
namespace {

TEST(DotLaw, EqualsTheLawInExactRationalArithmetic) {
    const std::vector<float> x = test::fixture_floats("dot_activations.f32");
    ASSERT_EQ(x.size(), 2u * 512);
    const std::vector<QuantizedBlock> quantized = test::quantized(x);
    int64_t compared = 0;
    for (const char* file : {"dot_law.txt", "dot_law_safetensors.txt"}) {
        std::ifstream lines = test::fixture_lines(file);
        std::string name, expected;
        int64_t activation, row;
        while (lines >> name >> activation >> row >> expected) {
            const Format& format = *find_format_by_name(name);
            const std::vector<std::byte> rows = test::fixture_bytes(name + ".rows");
            const int64_t columns = !format.is_float ? 512 : format.block_weights == 1 ? 77 : format.block_weights;
            const std::byte* weights = rows.data() + row * format.row_bytes(columns);
            const float y = format.is_float ? dot_float(format, weights, &x[activation * 512], columns)
                                            : dot_quantized(format, weights, &quantized[activation * 16], columns);
            EXPECT_EQ(test::bits(y), std::stoul(expected, nullptr, 16)) << name << " row " << row << ": " << y;
            ++compared;
        }
    }
    EXPECT_EQ(compared, 2 * (14 * 12 + 3 * 4) + 2 * (3 * 12 + 2 * 4));
    std::printf("[equality] %lld outputs compared\n", static_cast<long long>(compared));
}

// In a block that a row ends in, the elements past the end do not exist: FP8 with a grid of scales against the same
// weights in F32, whose rows end anywhere, and against binary64.
TEST(DotLaw, ARowOfFloatsMayEndInsideABlock) {
    const Format &grid = format(FormatId::f8_e4m3_b128), &plain = format(FormatId::f32);
    double worst = 0;
    for (const int64_t columns : {1, 31, 64, 127, 129, 160, 576, 1000, 1055}) {
        const std::vector<float> values = test::gaussian_values(columns, 5 + columns);
        const std::vector<float> x = test::gaussian_values(columns, 6 + columns);
        std::vector<std::byte> row(static_cast<size_t>(grid.row_bytes(columns)), std::byte{0x55});
        EXPECT_EQ(row.size(), static_cast<size_t>((columns + 127) / 128 * 132));
        grid.encode(values.data(), columns, nullptr, row.data());
        for (int64_t behind = 1; behind <= (128 - columns % 128) % 128; ++behind)
            EXPECT_EQ(row[row.size() - static_cast<size_t>(behind)], std::byte{0});
        std::vector<float> weights(static_cast<size_t>(columns));
        grid.decode(row.data(), columns, weights.data());
        const float y = dot_float(grid, row.data(), x.data(), columns);
        const auto* wide = reinterpret_cast<const std::byte*>(weights.data());
        EXPECT_EQ(test::bits(y), test::bits(dot_float(plain, wide, x.data(), columns))) << columns;
        double exact = 0, magnitude = 0;
        for (size_t i = 0; i < weights.size(); ++i) {
            EXPECT_NEAR(weights[i], values[i], 0.07f * std::fabs(values[i]) + 0.01f);
            exact += double{weights[i]} * x[i];
            magnitude += std::fabs(double{weights[i]} * x[i]);
        }
        worst = std::max(worst, std::fabs(y - exact) / magnitude);
    }
    EXPECT_LT(worst, 1e-6);
}

// Against sum of weight * (d * q) in binary64. Every float step of the law rounds its product of scales (2^-24 of the
// step) and its sum (2^-24 of a partial sum); with n steps in all, the error is below n * 2^-24 * sum |terms|, and in
// practice near sqrt(n) * 2^-24. `steps`: at most two a block.
TEST(DotLaw, IsWithinRoundingOfABinary64Dot) {
    for (const Format* format : formats()) {
        if (format->is_float) continue;
        double worst = 0.0;
        for (const int64_t columns : {int64_t{256}, int64_t{1024}, int64_t{14336}}) {
            const std::vector<std::byte> row = test::random_row(*format, columns, 31 + columns);
            const std::vector<float> weights = test::decode(*format, row);
            const std::vector<QuantizedBlock> x = test::quantized(test::gaussian_values(columns, 77 + columns));
            double exact = 0.0, magnitude = 0.0;
            for (int64_t i = 0; i < columns; ++i) {
                const double term = double{weights[i]} * (double{x[i / 32].d} * x[i / 32].q[i % 32]);
                exact += term;
                magnitude += std::fabs(term);
            }
            const double error = std::fabs(dot_quantized(*format, row.data(), x.data(), columns) - exact);
            worst = std::max(worst, error / magnitude);
        }
        // Formats with a minimum form the difference of two larger sums, so their terms are larger than the products.
        EXPECT_LT(worst, 4e-7) << format->name;
        std::printf("[rounding] %-7s at most %.2g of the sum of magnitudes\n", std::string(format->name).c_str(),
                    worst);
    }
}

TEST(DotLaw, FloatFormatsRoundAsSequentialStrandsOfAnyLength) {
    const std::vector<float> x = test::gaussian_values(1000, 5), w = test::gaussian_values(1000, 6);
    for (const FormatId id : {FormatId::f32, FormatId::f16, FormatId::bf16, FormatId::f8_e4m3}) {
        const std::vector<std::byte> row = test::encode(format(id), w);
        const std::vector<float> weights = test::decode(format(id), row);
        for (const int64_t columns : {0, 1, 31, 32, 33, 255, 256, 257, 999, 1000}) {
            float strand[8] = {};
            for (int64_t i = 0; i < columns; ++i) strand[i / 32 % 8] = std::fma(weights[i], x[i], strand[i / 32 % 8]);
            float y = strand[0];
            for (int s = 1; s < 8; ++s) y += strand[s];
            EXPECT_EQ(test::bits(dot_float(format(id), row.data(), x.data(), columns)), test::bits(y)) << columns;
        }
    }
}

// The same numbers in another order must give other bits, or the tests of order in cpu/ and cuda/ would be blind.
struct OrderCounts {
    int permuted = 0, tree = 0, pairs = 0, rows = 0;
};

OrderCounts count_order_changes(const Format& format) {
    constexpr int64_t kColumns = 2048;
    const int blocks_per = std::max(format.block_weights, 256) / format.block_weights;
    const int64_t group_bytes = int64_t{blocks_per} * format.block_bytes;  // 256 weights: each strand once
    OrderCounts counts;
    for (int seed = 0; seed < 40; ++seed) {
        const std::vector<std::byte> row = test::random_row(format, kColumns, 1000 + seed);
        const std::vector<QuantizedBlock> x = test::quantized(test::gaussian_values(kColumns, 2000 + seed));
        const float y = dot_quantized(format, row.data(), x.data(), kColumns);

        std::vector<std::byte> moved_row = row;  // groups 1 and 6 of 256 change places, in row and activations
        std::vector<QuantizedBlock> moved_x = x;
        std::swap_ranges(moved_row.begin() + group_bytes, moved_row.begin() + 2 * group_bytes,
                         moved_row.begin() + 6 * group_bytes);
        std::swap_ranges(moved_x.begin() + 8, moved_x.begin() + 16, moved_x.begin() + 48);
        const float moved = dot_quantized(format, moved_row.data(), moved_x.data(), kColumns);

        Strands strands;
        float pairs = 0.0f;
        for (int64_t column = 0; column < kColumns; column += format.block_weights) {
            format.accumulate(row.data() + column / format.block_weights * format.block_bytes, &x[column / 32],
                              column / 32, strands);
        }
        for (int s = 0; s < 8; s += 2) pairs += strands.s[s] + strands.s[s + 1];
        const float* s = strands.s;
        const float tree = ((s[0] + s[1]) + (s[2] + s[3])) + ((s[4] + s[5]) + (s[6] + s[7]));
        EXPECT_EQ(test::bits(strands.total()), test::bits(y));

        counts.permuted += test::bits(moved) != test::bits(y);
        counts.tree += test::bits(tree) != test::bits(y);
        counts.pairs += test::bits(pairs) != test::bits(y);
        ++counts.rows;
    }
    return counts;
}

TEST(DotLaw, BlocksInAnotherOrderOrATreeSumGiveOtherBits) {
    for (const Format* format : formats()) {
        if (format->is_float) continue;
        const OrderCounts counts = count_order_changes(*format);
        EXPECT_GE(counts.permuted, 10) << format->name;
        EXPECT_GE(counts.tree, 10) << format->name;
        EXPECT_GE(counts.pairs, 10) << format->name;
        std::printf(
            "[order] %-7s of %d rows: %d change with two groups swapped, %d with a tree, %d with sums of pairs\n",
            std::string(format->name).c_str(), counts.rows, counts.permuted, counts.tree, counts.pairs);
    }
}

TEST(DotLaw, BlockNumberChoosesTheStrand) {
    for (const Format* format : formats()) {
        if (format->is_float) continue;
        const int dot_blocks = format->block_weights / kDotBlock;
        const std::vector<std::byte> row = test::random_row(*format, format->block_weights, 9);
        const std::vector<QuantizedBlock> x = test::quantized(test::gaussian_values(format->block_weights, 10));
        for (int64_t first = 0; first < 24; first += dot_blocks) {
            Strands strands;
            format->accumulate(row.data(), x.data(), first, strands);
            for (int s = 0; s < kStrands; ++s) {
                const bool touched = ((s - first) % 8 + 8) % 8 < dot_blocks;
                EXPECT_EQ(strands.s[s] != 0.0f, touched) << format->name << " block " << first << " strand " << s;
            }
        }
    }
}

TEST(DotLaw, ABadActivationReachesTheOutputAsNaN) {
    for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
        for (const Format* format : formats()) {
            if (format->is_float) continue;
            std::vector<float> values = test::gaussian_values(512, 3);
            values[300] = bad;
            const std::vector<QuantizedBlock> x = test::quantized(values);
            const std::vector<std::byte> row = test::random_row(*format, 512, 4);
            EXPECT_TRUE(std::isnan(dot_quantized(*format, row.data(), x.data(), 512))) << format->name;
        }
    }
}

}  // namespace
}  // namespace invar
