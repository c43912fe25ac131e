// Rows of weights from tensors: orders of rows, slices, experts apart, codes with scales beside them.
#include "files/stored_weight.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstring>
#include <random>

#include "arithmetic/elementary.h"
#include "files/block_packing.h"

namespace invar {
namespace {

TensorInfo tensor_of(std::vector<int64_t> shape, const void* data, size_t bytes, const Format* format,
                     std::string dtype = "") {
    return {.name = "t",
            .format = format,
            .shape = std::move(shape),
            .data = static_cast<const std::byte*>(data),
            .bytes = bytes,
            .dtype = std::move(dtype)};
}

const Format& kF32 = format(FormatId::f32);

// Row r holds 10 r, 10 r + 1, 10 r + 2, 10 r + 3.
struct Numbered {
    explicit Numbered(std::vector<int64_t> of) : shape(std::move(of)) {
        int64_t rows = 1;
        for (size_t i = 0; i + 1 < shape.size(); ++i) rows *= shape[i];
        for (int64_t r = 0; r < rows; ++r)
            for (int64_t c = 0; c < 4; ++c) values.push_back(static_cast<float>(10 * r + c));
        tensor = tensor_of(shape, values.data(), values.size() * 4, &kF32);
    }
    std::vector<int64_t> shape;
    std::vector<float> values;
    TensorInfo tensor;
};

// The first number of each row, over ten: which row of the tensor it was.
std::vector<int> rows_of(const StoredWeight& weight) {
    std::vector<int> rows;
    RowReader reader(RowReader::Access::mapped);
    for (int64_t r = 0; r < weight.rows(); ++r) {
        float row[4];
        EXPECT_TRUE(reader.decode(weight, r, row));
        for (int c = 0; c < 4; ++c) EXPECT_EQ(row[c], row[0] + static_cast<float>(c));
        rows.push_back(static_cast<int>(row[0] / 10));
    }
    // All at once are the same.
    const auto all = reader.rows(weight, 0, weight.rows());
    EXPECT_TRUE(all);
    for (size_t r = 0; r < rows.size(); ++r) {
        float first = 0;
        std::memcpy(&first, *all + r * 16, 4);
        EXPECT_EQ(static_cast<int>(first / 10), rows[r]);
    }
    return rows;
}

TEST(StoredWeight, IsInPlaceWhereItIsTheTensorOrConsecutiveRowsOfIt) {
    const Numbered whole({8, 4});
    const StoredWeight all{.format = &kF32, .shape = {8, 4}, .matrices = {{.weights = &whole.tensor}}};
    EXPECT_EQ(all.in_place(), whole.tensor.data);
    EXPECT_EQ(rows_of(all), (std::vector<int>{0, 1, 2, 3, 4, 5, 6, 7}));
    const StoredWeight slice{
        .format = &kF32, .shape = {2, 4}, .matrices = {{.weights = &whole.tensor, .order = {.first = 5}}}};
    EXPECT_EQ(slice.in_place(), whole.tensor.data + 5 * 16);
    EXPECT_EQ(slice.place_of(1).offset, 6 * 16);
    EXPECT_EQ(rows_of(slice), (std::vector<int>{5, 6}));
}

TEST(StoredWeight, TurnsNeighboursOfRopeIntoHalvesOfAHead) {
    const Numbered whole({8, 4});
    StoredWeight heads{.format = &kF32,
                       .shape = {8, 4},
                       .matrices = {{.weights = &whole.tensor, .order = {.head_width = 4, .rotary_width = 4}}}};
    EXPECT_EQ(heads.in_place(), nullptr);
    EXPECT_EQ(rows_of(heads), (std::vector<int>{0, 2, 1, 3, 4, 6, 5, 7}));
    heads.matrices[0].order = {.head_width = 8, .rotary_width = 6};  // the last two of a head do not turn
    EXPECT_EQ(rows_of(heads), (std::vector<int>{0, 2, 4, 1, 3, 5, 6, 7}));
}

TEST(StoredWeight, TakesEveryOtherRow) {
    const Numbered whole({8, 4});
    const StoredWeight odd{
        .format = &kF32, .shape = {4, 4}, .matrices = {{.weights = &whole.tensor, .order = {.first = 1, .step = 2}}}};
    EXPECT_EQ(odd.in_place(), nullptr);
    EXPECT_EQ(rows_of(odd), (std::vector<int>{1, 3, 5, 7}));
}

TEST(StoredWeight, JoinsExpertsAndTheirScales) {
    const Numbered both({2, 3, 4}), one({3, 4});
    StoredWeight fused{.format = &kF32, .shape = {2, 2, 4}};
    for (const int64_t first : {1, 4}) fused.matrices.push_back({.weights = &both.tensor, .order = {.first = first}});
    EXPECT_EQ(fused.in_place(), nullptr);
    EXPECT_EQ(rows_of(fused), (std::vector<int>{1, 2, 4, 5}));
    StoredWeight apart{
        .format = &kF32, .shape = {2, 3, 4}, .matrices = {{.weights = &one.tensor}, {.weights = &one.tensor}}};
    EXPECT_EQ(apart.in_place(), nullptr);
    EXPECT_EQ(rows_of(apart), (std::vector<int>{0, 1, 2, 0, 1, 2}));
    apart.scales = {1.0f, 0.5f};
    float row[4];
    ASSERT_TRUE(RowReader(RowReader::Access::mapped).decode(apart, 5, row));
    EXPECT_EQ(row[3], 11.5f);
}

TEST(StoredWeight, ChangesTheNumbersOfVectors) {
    const float values[] = {0.5f, -1.0f, 3.0f, 2.0f};
    const TensorInfo tensor = tensor_of({4}, values, sizeof values, &kF32);
    StoredWeight vector{.format = &kF32, .shape = {4}, .matrices = {{.weights = &tensor}}};
    float out[4];
    RowReader reader(RowReader::Access::mapped);
    vector.law = VectorLaw::plus_one;
    ASSERT_TRUE(reader.vector(vector, out));
    EXPECT_EQ(out[1], 0.0f);
    vector.law = VectorLaw::minus_exp;
    ASSERT_TRUE(reader.vector(vector, out));
    EXPECT_EQ(out[2], -law::exp(3.0f));
    vector.law = VectorLaw::as_stored;
    vector.matrices[0].order = {.head_width = 4, .rotary_width = 4};
    ASSERT_TRUE(reader.vector(vector, out));
    EXPECT_EQ(out[1], 3.0f);
    EXPECT_EQ(out[2], -1.0f);
}

float e2m1(int code) {
    constexpr float kMagnitudes[] = {0.0f, 0.5f, 1.0f, 1.5f, 2.0f, 3.0f, 4.0f, 6.0f};
    return code >= 8 ? -kMagnitudes[code - 8] : kMagnitudes[code];
}
float e4m3(int byte) {
    const int exponent = (byte >> 3) & 15, mantissa = byte & 7;
    return exponent == 0 ? std::ldexp(static_cast<float>(mantissa), -9)
                         : std::ldexp(static_cast<float>(8 + mantissa), exponent - 10);
}

struct Codes {
    std::vector<uint8_t> codes, scales;
    TensorInfo code_tensor, scale_tensor;

    Codes(int64_t rows, int64_t columns, int64_t group, const char* dtype, int most_scale) {
        std::mt19937 random(7);
        for (int64_t i = 0; i < rows * columns / 2; ++i) codes.push_back(static_cast<uint8_t>(random()));
        for (int64_t i = 0; i < rows * columns / group; ++i)
            scales.push_back(static_cast<uint8_t>(random() % static_cast<unsigned>(most_scale + 1)));
        code_tensor = tensor_of({rows, columns / 2}, codes.data(), codes.size(), nullptr, "U8");
        scale_tensor = tensor_of({rows, columns / group}, scales.data(), scales.size(), nullptr, dtype);
    }
    int code(int64_t element) const { return (codes[static_cast<size_t>(element / 2)] >> (element % 2 * 4)) & 15; }
};

TEST(StoredWeight, PacksNvfp4CodesAndScalesIntoBlocksOfTheSameNumbers) {
    const Codes stored(4, 128, 16, "F8_E4M3", 0x7E);
    const StoredWeight weight{.format = &format(FormatId::nvfp4),
                              .shape = {2, 128},
                              .matrices = {{.weights = &stored.code_tensor,
                                            .scales = &stored.scale_tensor,
                                            .order = {.first = 1, .step = 2}}},
                              .packing = CodePacking::nvfp4_pairs,
                              .scales = {0.25f}};
    RowReader reader(RowReader::Access::mapped);
    float row[128];
    for (int64_t r = 0; r < 2; ++r) {
        ASSERT_TRUE(reader.decode(weight, r, row));
        for (int64_t c = 0; c < 128; ++c) {
            const int64_t element = (1 + 2 * r) * 128 + c;
            const float expected =
                e2m1(stored.code(element)) * e4m3(stored.scales[static_cast<size_t>(element / 16)]) * 0.25f;
            ASSERT_EQ(row[c], expected) << r << " " << c;
        }
    }
}

TEST(StoredWeight, RefusesScalesOfBlocksThatNoWriterMakes) {
    for (const auto& [scale, bad] : {std::pair{0x7E, false}, {0x80, false}, {0x7F, true}, {0x81, true}, {0xFF, true}}) {
        Codes stored(2, 64, 16, "F8_E4M3", 0x7E);
        stored.scales[5] = static_cast<uint8_t>(scale);
        const StoredWeight weight{.format = &format(FormatId::nvfp4),
                                  .shape = {2, 64},
                                  .matrices = {{.weights = &stored.code_tensor, .scales = &stored.scale_tensor}},
                                  .packing = CodePacking::nvfp4_pairs};
        const auto rows = RowReader(RowReader::Access::read).rows(weight, 0, 2);
        EXPECT_EQ(rows.has_value(), !bad) << scale;
        if (!rows) {
            EXPECT_NE(rows.error().message.find("holds a scale in row 1 that is negative, infinite or not a number"),
                      std::string::npos)
                << rows.error().message;
        }
        const std::span bytes(reinterpret_cast<const std::byte*>(stored.scales.data()), stored.scales.size());
        EXPECT_EQ(count_bad_scales("F8_E4M3", bytes), bad ? 1 : 0);
        EXPECT_EQ(count_bad_scales("F8_E8M0", bytes), scale == 0xFF ? 1 : 0);
        EXPECT_EQ(count_bad_scales("U8", bytes), scale == 0xFF ? 1 : 0);
        EXPECT_EQ(count_bad_scales("I32", bytes), 0);
    }
}

TEST(StoredWeight, CountsScalesThatAreNegativeInfiniteOrNoNumbers) {
    const auto of = [](std::string_view dtype, const auto& bits) {
        return count_bad_scales(dtype, std::as_bytes(std::span(bits)));
    };
    // 1, 0, -0 and the largest number are scales; -1, the smallest one below 0, infinities and NaN are not.
    EXPECT_EQ(of("BF16", std::array<uint16_t, 4>{0x3F80, 0, 0x8000, 0x7F7F}), 0);
    EXPECT_EQ(of("BF16", std::array<uint16_t, 6>{0xBF80, 0x8001, 0x7F80, 0xFF80, 0x7FC0, 0xFFC0}), 6);
    EXPECT_EQ(of("F16", std::array<uint16_t, 4>{0x3C00, 0, 0x8000, 0x7BFF}), 0);
    EXPECT_EQ(of("F16", std::array<uint16_t, 6>{0xBC00, 0x8001, 0x7C00, 0xFC00, 0x7E00, 0xFE00}), 6);
    const std::array<uint16_t, 4> bits{0xBF80, 0x8001, 0xFF80, 0x7FC0};
    EXPECT_EQ(count_bad_scales("BF16", std::as_bytes(std::span(bits)), ScaleSign::any), 2) << "of INT4";
    EXPECT_EQ(of("F32", std::array<float, 4>{1, 0, -0.0f, 3e38f}), 0);
    EXPECT_EQ(of("F32", std::array<float, 5>{-1, -1e-45f, INFINITY, -INFINITY, NAN}), 5);
}

TEST(StoredWeight, RefusesScalesOfInt4GroupsAndOfFp8BlocksWhenRowsAreRead) {
    for (const auto& [bits, bad] : {std::pair{0x3F80, false}, {0xBF80, false}, {0x7F80, true}, {0xFFC0, true}}) {
        Codes stored(2, 64, 16, "BF16", 0);  // two bytes for a group of 32
        stored.scales[6] = static_cast<uint8_t>(bits & 0xFF), stored.scales[7] = static_cast<uint8_t>(bits >> 8);
        stored.scale_tensor.shape = {2, 2};
        const StoredWeight weight{.format = &format(FormatId::int4_g32),
                                  .shape = {2, 64},
                                  .matrices = {{.weights = &stored.code_tensor, .scales = &stored.scale_tensor}},
                                  .packing = CodePacking::int4_words};
        const auto rows = RowReader(RowReader::Access::read).rows(weight, 1, 1);
        EXPECT_EQ(rows.has_value(), !bad) << bits;
        if (!rows) {
            EXPECT_NE(rows.error().message.find("a scale in row 1 that"), std::string::npos) << rows.error().message;
        }
        EXPECT_TRUE(RowReader(RowReader::Access::read).rows(weight, 0, 1)) << "row 0 is good";
        EXPECT_TRUE(RowReader(RowReader::Access::mapped).rows(weight, 1, 1)) << "audit reads it all the same";
    }
    std::array<float, 2> grid = {1, 2};
    const std::vector<std::byte> codes(size_t{2} * 256);
    const TensorInfo code_tensor = tensor_of({2, 256}, codes.data(), codes.size(), nullptr, "F8_E4M3");
    const TensorInfo scale_tensor = tensor_of({1, 2}, grid.data(), sizeof grid, nullptr, "F32");
    const StoredWeight weight{.format = &format(FormatId::f8_e4m3_b128),
                              .shape = {2, 256},
                              .matrices = {{.weights = &code_tensor, .scales = &scale_tensor}},
                              .packing = CodePacking::f8_grid};
    EXPECT_TRUE(RowReader(RowReader::Access::read).rows(weight, 0, 2));
    for (const float bad : {-2.0f, INFINITY, NAN}) {
        grid[1] = bad;
        const auto rows = RowReader(RowReader::Access::read).rows(weight, 0, 2);
        ASSERT_FALSE(rows) << bad;
        EXPECT_NE(rows.error().message.find("'t' holds a scale in row 0"), std::string::npos);
    }
}

TEST(StoredWeight, PacksMxfp4CodesAndScalesIntoBlocksOfTheSameNumbers) {
    const Codes stored(3, 64, 32, "U8", 0xFE);
    const StoredWeight weight{.format = &format(FormatId::mxfp4),
                              .shape = {3, 64},
                              .matrices = {{.weights = &stored.code_tensor, .scales = &stored.scale_tensor}},
                              .packing = CodePacking::mxfp4_pairs};
    RowReader reader(RowReader::Access::mapped);
    float row[64];
    for (int64_t r = 0; r < 3; ++r) {
        ASSERT_TRUE(reader.decode(weight, r, row));
        for (int64_t c = 0; c < 64; ++c) {
            const int64_t element = r * 64 + c;
            const int exponent = stored.scales[static_cast<size_t>(element / 32)];
            ASSERT_EQ(row[c], std::ldexp(e2m1(stored.code(element)), exponent - 127)) << r << " " << c;
        }
    }
}

}  // namespace
}  // namespace invar
