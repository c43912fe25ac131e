// Modules in every dialect as the engine takes them, against what compressed-tensors and ModelOpt make of them: every
// weight equal as binary32, with ordinary scales and with extreme ones (tests/data/dialects, made by
// tools/fixtures/dialects.py).
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "checkpoint/module_tensors.h"
#include "files/safetensors.h"

namespace invar {
namespace {

const std::filesystem::path kFolder = std::filesystem::path(INVAR_TEST_DATA) / "dialects";

StoredWeight stored_of(const ModuleTensors& module) {
    StoredWeight weight{.name = module.weights->name,
                        .format = module.format,
                        .shape = module.shape,
                        .matrices = {{.weights = module.weights, .scales = module.scales}},
                        .packing = module.packing};
    weight.scales = module.multipliers;
    weight.divisors = module.divisors;
    weight.scale_order = module.scale_order;
    weight.row_scales = module.row_multipliers;
    return weight;
}

// Compares every weight of every module that is supported; gives how many. Minus zero is zero: no format keeps its
// sign.
int64_t compare(const std::string& name) {
    const auto checkpoint = Checkpoint::open(kFolder / name);
    const auto expected = SafeTensorsFile::open(kFolder / (name + ".safetensors"));
    EXPECT_TRUE(checkpoint && expected) << name;
    if (!checkpoint || !expected) return 0;
    int64_t compared = 0, wrong = 0;
    RowReader reader(RowReader::Access::read);
    for (const SafeTensor& tensor : expected->tensors()) {
        const auto module = find_module(*checkpoint, tensor.name);
        EXPECT_TRUE(module && *module) << name << " " << tensor.name << ": " << (module ? "" : module.error().message);
        if (!module || !*module) continue;
        const StoredWeight weight = stored_of(**module);
        EXPECT_EQ(weight.shape, tensor.shape);
        std::vector<float> row(static_cast<size_t>(tensor.shape[1]));
        for (int64_t r = 0; r < tensor.shape[0]; ++r) {
            EXPECT_TRUE(reader.decode(weight, r, row.data()));
            for (int64_t c = 0; c < tensor.shape[1]; ++c, ++compared) {
                float theirs = 0;
                std::memcpy(&theirs, tensor.data + (r * tensor.shape[1] + c) * 4, 4);
                const float ours = row[static_cast<size_t>(c)];
                if (ours == theirs) continue;
                if (++wrong < 5)
                    ADD_FAILURE() << name << " " << tensor.name << " " << r << " " << c << ": " << ours << ", not "
                                  << theirs;
            }
        }
    }
    EXPECT_EQ(wrong, 0) << name;
    return compared;
}

// What a product makes of a weight, code * block scale * multiplier in this order, for the bound of
// docs/arithmetic.md: relative to the weight, in units of 2^-24, where no number is subnormal.
double most_of_products(const std::string& name) {
    const auto checkpoint = Checkpoint::open(kFolder / name);
    EXPECT_TRUE(checkpoint);
    double most = 0;
    RowReader reader(RowReader::Access::read);
    for (const char* part : {"self_attn.q_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.experts.5.up_proj"}) {
        const auto module = find_module(*checkpoint, fmt::format("model.layers.0.{}.weight", part));
        EXPECT_TRUE(module && *module) << part;
        const StoredWeight weight = stored_of(**module);
        std::vector<float> row(256), codes(256);
        for (int64_t r = 0; r < weight.rows(); ++r) {
            EXPECT_TRUE(reader.decode(weight, r, row.data()));
            weight.format->decode(reader.rows(weight, r, 1).value(), 256, codes.data());
            for (size_t c = 0; c < row.size(); ++c) {
                const double of_product = double{codes[c]} * weight.scales[0];
                if (row[c] == 0) {
                    EXPECT_EQ(of_product, 0);
                } else {
                    most = std::max(most, std::fabs(of_product - row[c]) / std::fabs(of_product) * 0x1p24);
                }
            }
        }
    }
    return most;
}

TEST(DialectWeights, Nvfp4InBothDialects) {
    EXPECT_EQ(compare("nvfp4"), 13 * 2048);
    EXPECT_EQ(compare("nvfp4-modelopt"), 13 * 2048);
}

TEST(DialectWeights, Nvfp4OfProductsIsWithinTheStatedBound) {
    const double divisor = most_of_products("nvfp4"), multiplier = most_of_products("nvfp4-modelopt");
    EXPECT_GT(divisor, 0.5);
    EXPECT_LE(divisor, 3);
    EXPECT_GT(multiplier, 0.5);
    EXPECT_LE(multiplier, 2);
}

TEST(DialectWeights, Mxfp4) { EXPECT_EQ(compare("mxfp4"), 2 * 4096); }

TEST(DialectWeights, Fp8WithOneScaleOrOneForEachRow) {
    for (const char* name : {"fp8", "fp8-modelopt", "fp8-channel"})
        EXPECT_EQ(compare(name), 24 * 160 + 136 * 160 + 40 * 512);
}

// The last blocks of the first two matrices are cut in both directions.
TEST(DialectWeights, Fp8WithAGridOfScales) {
    for (const char* name : {"fp8-block", "fp8-block-ue8m0"}) EXPECT_EQ(compare(name), 24 * 160 + 136 * 160 + 40 * 512);
}

// What stands behind the last column is multiplied with the scale of its block, too.
TEST(DialectWeights, TheScaleOfACutBlockMustBeANumberBelowTheLimit) {
    const std::filesystem::path copy = std::filesystem::temp_directory_path() / fmt::format("invar_grid_{}", getpid());
    const std::string tensor = "model.layers.0.mlp.up_proj.weight";
    for (const float bad : {0.5f, -0x1.fp119f, 0x1p120f, -INFINITY, NAN}) {
        std::filesystem::copy(kFolder / "fp8-block", copy, std::filesystem::copy_options::recursive);
        {
            const auto file = SafeTensorsFile::open(copy / "model.safetensors");
            ASSERT_TRUE(file) << file.error().message;
            const SafeTensor* scales = file->find("model.layers.0.mlp.up_proj.weight_scale_inv");
            ASSERT_NE(scales, nullptr);
            std::fstream out(copy / "model.safetensors", std::ios::in | std::ios::out | std::ios::binary);
            out.seekp(static_cast<std::streamoff>(scales->file_offset + scales->bytes - 4));
            out.write(reinterpret_cast<const char*>(&bad), 4);
        }
        const auto checkpoint = Checkpoint::open(copy);
        ASSERT_TRUE(checkpoint) << checkpoint.error().message;
        const auto module = find_module(*checkpoint, tensor);
        if (std::fabs(bad) < 0x1p120f) {
            EXPECT_TRUE(module) << module.error().message;
        } else {
            ASSERT_FALSE(module);
            EXPECT_NE(module.error().message.find("up_proj.weight_scale_inv' holds "), std::string::npos)
                << module.error().message;
            EXPECT_NE(module.error().message.find("below 2^120; the file is damaged"), std::string::npos);
        }
        std::filesystem::remove_all(copy);
    }
}

TEST(DialectWeights, Int4InGroups) {
    for (const char* name : {"int4-g32", "int4-g128", "int4-g32-f16", "int4-g128-f16"})
        EXPECT_EQ(compare(name), 2 * 4096);
}

}  // namespace
}  // namespace invar
