// Shared by the tests of formats/: reading tests/data/formats (made by tools/fixtures/formats.py), random blocks that a
// file could hold, and relative error.
#pragma once

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "arithmetic/float_types.h"
#include "arithmetic/quantize.h"
#include "formats/format.h"

namespace invar::test {

inline std::vector<std::byte> fixture_bytes(const std::string& file) {
    std::ifstream stream(std::string(INVAR_TEST_DATA) + "/formats/" + file, std::ios::binary);
    EXPECT_TRUE(stream.good()) << file;
    const std::vector<char> chars{std::istreambuf_iterator<char>(stream), {}};
    std::vector<std::byte> bytes(chars.size());
    if (!chars.empty()) std::memcpy(bytes.data(), chars.data(), chars.size());
    return bytes;
}

inline std::vector<float> fixture_floats(const std::string& file) {
    const std::vector<std::byte> bytes = fixture_bytes(file);
    std::vector<float> values(bytes.size() / 4);
    if (!values.empty()) std::memcpy(values.data(), bytes.data(), values.size() * 4);
    return values;
}

inline std::ifstream fixture_lines(const std::string& file) {
    std::ifstream stream(std::string(INVAR_TEST_DATA) + "/formats/" + file);
    EXPECT_TRUE(stream.good()) << file;
    return stream;
}

inline uint32_t bits(float value) { return std::bit_cast<uint32_t>(value); }

inline std::vector<float> decode(const Format& format, const std::vector<std::byte>& row) {
    const int64_t count = static_cast<int64_t>(row.size()) / format.block_bytes * format.block_weights;
    std::vector<float> values(count);
    format.decode(row.data(), count, values.data());
    return values;
}

inline std::vector<std::byte> encode(const Format& format, const std::vector<float>& values,
                                     const float* importance = nullptr) {
    std::vector<std::byte> row(format.row_bytes(static_cast<int64_t>(values.size())));
    format.encode(values.data(), static_cast<int64_t>(values.size()), importance, row.data());
    return row;
}

inline double relative_rms(const std::vector<float>& expected, const std::vector<float>& actual) {
    double difference = 0.0, square = 0.0;
    for (size_t i = 0; i < expected.size(); ++i) {
        difference += (double{expected[i]} - actual[i]) * (double{expected[i]} - actual[i]);
        square += double{expected[i]} * expected[i];
    }
    return std::sqrt(difference / square);
}

// Normally distributed, and the same numbers with every standard library.
inline std::vector<float> gaussian_values(int64_t count, uint64_t seed, double deviation = 1.0) {
    std::mt19937_64 random(seed);
    const auto uniform = [&] { return (static_cast<double>(random() >> 11) + 0.5) * 0x1p-53; };
    std::vector<float> values(count);
    for (float& value : values) {
        value =
            static_cast<float>(deviation * std::sqrt(-2.0 * std::log(uniform())) * std::cos(6.283185307 * uniform()));
    }
    return values;
}

// Rows of a quantised format whose weights are of usual size and random.
inline std::vector<std::byte> random_row(const Format& format, int64_t columns, uint64_t seed) {
    return encode(format, gaussian_values(columns, seed, 0.05));
}

inline std::vector<QuantizedBlock> quantized(const std::vector<float>& x) {
    std::vector<QuantizedBlock> blocks(x.size() / kDotBlock);
    quantize_row(x.data(), static_cast<int64_t>(x.size()), blocks.data());
    return blocks;
}

}  // namespace invar::test
