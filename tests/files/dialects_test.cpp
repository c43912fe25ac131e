// Quantised SafeTensors dialects against the dequantisation of compressed-tensors and ModelOpt: every weight equal as
// binary32 (tests/data/dialects, made by tools/fixtures/dialects.py). The laws are applied here step by step, with our
// tables of codes and scales; that a checkpoint's weights follow them is tests/checkpoint's.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <functional>

#include "arithmetic/float_types.h"
#include "base/json.h"
#include "files/model_directory.h"
#include "formats/e2m1.h"

namespace invar {
namespace {

const std::filesystem::path kFolder = std::filesystem::path(INVAR_TEST_DATA) / "dialects";

// A tensor's element as a number, whatever its dtype.
float number(const SafeTensor& tensor, int64_t i) {
    const std::byte* at = tensor.data + i * dtype_bits(tensor.dtype) / 8;
    const auto byte = static_cast<uint8_t>(*at);
    if (tensor.dtype == Dtype::f8_e4m3) return e4m3_to_f32(byte);
    if (tensor.dtype == Dtype::f8_e8m0) return e8m0_to_f32(byte);
    if (tensor.dtype == Dtype::bf16) {
        uint16_t bits = 0;
        std::memcpy(&bits, at, 2);
        return bf16_to_f32(bits);
    }
    if (tensor.dtype == Dtype::f16) {
        uint16_t bits = 0;
        std::memcpy(&bits, at, 2);
        return f16_to_f32(bits);
    }
    EXPECT_EQ(tensor.dtype, Dtype::f32) << tensor.name;
    float value = 0;
    std::memcpy(&value, at, 4);
    return value;
}

float e2m1(const SafeTensor& packed, int64_t i) {  // the even element low
    const auto byte = static_cast<uint8_t>(packed.data[i / 2]);
    return 0.5f * kDoubledE2M1[i % 2 == 0 ? byte & 15 : byte >> 4];
}

// The tensors of one module.
struct Module {
    const ModelDirectory& directory;
    std::string name;
    int64_t columns;

    const SafeTensor& at(std::string_view part) const {
        const SafeTensor* found = directory.find(fmt::format("{}.{}", name, part));
        EXPECT_NE(found, nullptr) << name << " " << part;
        return *found;
    }
};
using Law = std::function<float(const Module&, int64_t row, int64_t column)>;

// Compares every weight of every module and returns how many.
int64_t compare(const std::string& name, const Law& law) {
    const auto directory = ModelDirectory::open(kFolder / name);
    const auto expected = SafeTensorsFile::open(kFolder / (name + ".safetensors"));
    EXPECT_TRUE(directory && expected);
    if (!directory || !expected) return 0;
    int64_t compared = 0, wrong = 0;
    for (const SafeTensor& tensor : expected->tensors()) {
        const Module module{*directory, tensor.name.substr(0, tensor.name.rfind('.')), tensor.shape[1]};
        for (int64_t i = 0; i < tensor.elements(); ++i, ++compared) {
            const float ours = law(module, i / module.columns, i % module.columns), theirs = number(tensor, i);
            if (ours == theirs) continue;  // minus zero is zero: a format keeps no sign of it
            if (++wrong < 5)
                ADD_FAILURE() << name << " " << tensor.name << " " << i << ": " << ours << ", not " << theirs;
        }
    }
    EXPECT_EQ(wrong, 0) << name;
    return compared;
}

TEST(Dialects, Nvfp4OfCompressedTensorsDividesByItsGlobalScale) {
    const auto law = [](const Module& m, int64_t row, int64_t column) {
        const float divisor = number(m.at("weight_global_scale"), 0);
        if (divisor == 0) return 0.0f;  // an expert that no calibration text reached
        const float scale = number(m.at("weight_scale"), row * m.columns / 16 + column / 16) / divisor;
        return e2m1(m.at("weight_packed"), row * m.columns + column) * scale;
    };
    EXPECT_EQ(compare("nvfp4", law), 13 * 2048);
}

TEST(Dialects, Nvfp4OfModelOptMultipliesByItsSecondScale) {
    const auto law = [](const Module& m, int64_t row, int64_t column) {
        const float scale = number(m.at("weight_scale"), row * m.columns / 16 + column / 16);
        return e2m1(m.at("weight"), row * m.columns + column) * (scale * number(m.at("weight_scale_2"), 0));
    };
    EXPECT_EQ(compare("nvfp4-modelopt", law), 13 * 2048);
}

TEST(Dialects, Fp8MultipliesByTheScaleOfTensorChannelOrBlock) {
    const auto code = [](const Module& m, int64_t row, int64_t column) {
        return number(m.at("weight"), row * m.columns + column);
    };
    constexpr int64_t kWeights = 24 * 160 + 136 * 160 + 40 * 512;
    for (const char* name : {"fp8", "fp8-modelopt"}) {
        EXPECT_EQ(compare(name, [&](const Module& m, int64_t row,
                                    int64_t column) { return code(m, row, column) * number(m.at("weight_scale"), 0); }),
                  kWeights);
    }
    EXPECT_EQ(compare("fp8-channel",
                      [&](const Module& m, int64_t row, int64_t column) {
                          return code(m, row, column) * number(m.at("weight_scale"), row);
                      }),
              kWeights);
    for (const char* name : {"fp8-block", "fp8-block-ue8m0"}) {
        EXPECT_EQ(compare(name,
                          [&](const Module& m, int64_t row, int64_t column) {
                              const SafeTensor& scales = m.at("weight_scale_inv");
                              return code(m, row, column) * number(scales, row / 128 * scales.shape[1] + column / 128);
                          }),
                  kWeights);
    }
}

TEST(Dialects, Mxfp4MultipliesByPowersOfTwo) {
    EXPECT_EQ(compare("mxfp4",
                      [](const Module& m, int64_t row, int64_t column) {
                          const int64_t block = row * m.columns / 32 + column / 32;
                          const float scale = e8m0_to_f32(static_cast<uint8_t>(m.at("weight_scale").data[block]));
                          return e2m1(m.at("weight_packed"), row * m.columns + column) * scale;
                      }),
              2 * 4096);
}

TEST(Dialects, Int4CountsFromMinusEight) {
    for (const auto& [name, group] : {std::pair<const char*, int64_t>{"int4-g32", 32},
                                      {"int4-g128", 128},
                                      {"int4-g32-f16", 32},
                                      {"int4-g128-f16", 128}}) {
        EXPECT_EQ(compare(name,
                          [group = group](const Module& m, int64_t row, int64_t column) {
                              const int64_t i = row * m.columns + column;
                              const auto byte = static_cast<uint8_t>(m.at("weight_packed").data[i / 2]);
                              const int code = (i % 2 == 0 ? byte & 15 : byte >> 4) - 8;
                              return static_cast<float>(code) * number(m.at("weight_scale"), i / group);
                          }),
                  2 * 4096);
    }
}

}  // namespace
}  // namespace invar
