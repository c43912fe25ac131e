// Pooling in pieces, and the dense layers behind it.
#include "embed/embedding_head.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

namespace invar {
namespace {

std::vector<float> normal(size_t count, uint32_t seed) {
    std::mt19937 random(seed);
    std::normal_distribution<float> each;
    std::vector<float> numbers(count);
    for (float& x : numbers) x = each(random);
    return numbers;
}

TEST(PooledRows, GiveTheSameBitsWhateverThePieces) {
    const Pooling modes[] = {Pooling::cls,           Pooling::max, Pooling::mean, Pooling::mean_sqrt_length,
                             Pooling::weighted_mean, Pooling::last};
    const std::vector<float> rows = normal(7 * 23, 1);
    PooledRows whole(modes, 7);
    whole.add(rows);
    const std::vector<float> wanted = whole.take();
    ASSERT_EQ(wanted.size(), 6u * 7u);
    for (const size_t piece : {1, 2, 5, 22}) {
        PooledRows pieces(modes, 7);
        for (size_t at = 0; at < 23; at += piece)
            pieces.add(std::span(rows).subspan(at * 7, std::min(piece, 23 - at) * 7));
        EXPECT_EQ(pieces.count(), 23);
        EXPECT_EQ(pieces.take(), wanted) << piece;
    }
}

WeightMatrix matrix_of(const std::vector<std::byte>& bytes, const Format& format, int64_t rows, int64_t columns) {
    return {.format = &format, .rows = rows, .columns = columns, .data = bytes.data(), .bytes = std::ssize(bytes)};
}

TEST(DenseLayer, IsTheProductPlusTheBiasThenTanh) {
    constexpr int64_t kRows = 5, kColumns = 96;
    const std::vector<float> w = normal(kRows * kColumns, 2), x = normal(kColumns, 3), b = normal(kRows, 4);
    for (const FormatId id : {FormatId::f32, FormatId::bf16, FormatId::q8_0}) {
        const Format& of = format(id);
        std::vector<std::byte> bytes(static_cast<size_t>(kRows * of.row_bytes(kColumns)));
        std::vector<float> decoded(w.size());
        for (int64_t row = 0; row < kRows; ++row) {
            of.encode(w.data() + row * kColumns, kColumns, nullptr, bytes.data() + row * of.row_bytes(kColumns));
            of.decode(bytes.data() + row * of.row_bytes(kColumns), kColumns, decoded.data() + row * kColumns);
        }
        const DenseWeights weights{.matrix = matrix_of(bytes, of, kRows, kColumns),
                                   .bias = WeightVector{.data = b.data(), .size = kRows}};
        const std::vector<float> plain = run_dense(weights, DenseActivation::identity, x);
        const std::vector<float> squashed = run_dense(weights, DenseActivation::tanh, x);
        for (size_t row = 0; row < kRows; ++row) {
            double exact = b[row];
            for (size_t k = 0; k < kColumns; ++k) exact += double{decoded[row * kColumns + k]} * x[k];
            EXPECT_NEAR(plain[row], exact, of.is_float ? 1e-5 : 0.5) << of.name;
            EXPECT_NEAR(squashed[row], std::tanh(plain[row]), 3e-7) << of.name;
        }
    }
}

TEST(Shorten, KeepsTheFirstElementsAndTheirDirection) {
    std::vector<float> x = {3, 4, 12}, y = x;
    shorten(x, 2, true);
    EXPECT_EQ(x, (std::vector<float>{3.0f / 5, 4.0f / 5}));
    shorten(y, 2, false);
    EXPECT_EQ(y, (std::vector<float>{3, 4}));
}

}  // namespace
}  // namespace invar
