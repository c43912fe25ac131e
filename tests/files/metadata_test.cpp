// Typed reading of metadata: which stored types count as what, and the words of every refusal.
#include "files/metadata.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "files/gguf_bytes.h"

namespace invar {
namespace {

using Type = MetadataType;

class MetadataReading : public ::testing::Test {
  protected:
    MetadataReading() {
        bytes_.start(0, 15)
            .key("u8", Type::u8)
            .put<uint8_t>(255)
            .key("i8", Type::i8)
            .put<int8_t>(-1)
            .key("i16", Type::i16)
            .put<int16_t>(300)
            .key("big", Type::u64)
            .put<uint64_t>(1ull << 63)
            .key("i64", Type::i64)
            .put<int64_t>(INT64_MIN)
            .key("f32", Type::f32)
            .put<float>(0.1f)
            .key("f64", Type::f64)
            .put<double>(0.1)
            .key("odd", Type::i64)
            .put<int64_t>((1ll << 53) + 1)
            .key("yes", Type::boolean)
            .put<uint8_t>(1)
            .key("text", Type::string)
            .text("caf\xc3\xa9")
            .key("ints", Type::array)
            .array(Type::i16, 2)
            .put<int16_t>(-7)
            .put<int16_t>(7)
            .key("huge", Type::array)
            .array(Type::u64, 1)
            .put<uint64_t>(1ull << 63)
            .key("odds", Type::array)
            .array(Type::i32, 1)
            .put<int32_t>((1 << 24) + 1)
            .key("flags", Type::array)
            .array(Type::boolean, 2)
            .put<uint8_t>(1)
            .put<uint8_t>(0)
            .key("none", Type::array)
            .array(Type::string, 0);
        auto file = bytes_.open();
        EXPECT_TRUE(file) << file.error().message;
        metadata_ = std::make_unique<Metadata>(file->metadata());
    }
    GgufBytes bytes_;
    std::unique_ptr<Metadata> metadata_;
};

TEST_F(MetadataReading, AcceptsAnyIntegerTypeThatFits) {
    EXPECT_EQ(metadata_->integer("u8").value(), 255u);
    EXPECT_EQ(metadata_->integer("i16").value(), 300u);
    EXPECT_EQ(metadata_->integer("big").value(), 1ull << 63);
    EXPECT_EQ(metadata_->signed_integer("i8").value(), -1);
    EXPECT_EQ(metadata_->signed_integer("i64").value(), INT64_MIN);
    EXPECT_EQ(metadata_->integer("i8").error().message,
              "model.gguf: metadata key 'i8' is -1, but a non-negative integer is wanted");
    EXPECT_EQ(metadata_->signed_integer("big").error().message,
              "model.gguf: metadata key 'big' is of type u64, but an integer below 2^63 is wanted");
    EXPECT_EQ(metadata_->integer("f32").error().message,
              "model.gguf: metadata key 'f32' is of type f32, but a non-negative integer is wanted");
    EXPECT_EQ(metadata_->integer("yes").error().message,
              "model.gguf: metadata key 'yes' is of type bool, but a non-negative integer is wanted");
}

TEST_F(MetadataReading, AcceptsNumbersThatBinary64HoldsExactly) {
    EXPECT_EQ(metadata_->number("f32").value(), static_cast<double>(0.1f));
    EXPECT_EQ(metadata_->number("f64").value(), 0.1);
    EXPECT_EQ(metadata_->number("i16").value(), 300.0);
    EXPECT_EQ(metadata_->number("odd").error().message,
              "model.gguf: metadata key 'odd' is of type i64, but a number is wanted");
    EXPECT_FALSE(metadata_->number("text"));
}

TEST_F(MetadataReading, NamesTheMissingKeyAndWhatItShouldHold) {
    EXPECT_EQ(metadata_->integer("llama.block_count").error().message,
              "model.gguf: metadata key 'llama.block_count' (a non-negative integer) is missing");
    EXPECT_EQ(metadata_->strings("a\nb").error().message,
              "model.gguf: metadata key 'a\\x0ab' (array of string) is missing");
    EXPECT_FALSE(metadata_->has("llama.block_count"));
    EXPECT_TRUE(metadata_->has("u8"));
}

TEST_F(MetadataReading, ReadsTextsAndBools) {
    EXPECT_EQ(metadata_->string("text").value(), "caf\xc3\xa9");
    EXPECT_TRUE(metadata_->boolean("yes").value());
    EXPECT_EQ(metadata_->string("u8").error().message,
              "model.gguf: metadata key 'u8' is of type u8, but a string is wanted");
    EXPECT_EQ(metadata_->boolean("u8").error().message,
              "model.gguf: metadata key 'u8' is of type u8, but a bool is wanted");
}

TEST_F(MetadataReading, ReadsArraysByElementType) {
    EXPECT_EQ(metadata_->integers("ints").value(), (std::vector<int64_t>{-7, 7}));
    EXPECT_EQ(metadata_->numbers("ints").value(), (std::vector<float>{-7, 7}));
    EXPECT_EQ(metadata_->booleans("flags").value(), (std::vector<bool>{true, false}));
    EXPECT_TRUE(metadata_->strings("none").value().empty());
    EXPECT_EQ(metadata_->integers("none").error().message,
              "model.gguf: metadata key 'none' is of type array of string, but array of integers below 2^63 is wanted");
    EXPECT_EQ(metadata_->strings("u8").error().message,
              "model.gguf: metadata key 'u8' is of type u8, but array of string is wanted");
    EXPECT_FALSE(metadata_->integers("huge"));
    EXPECT_FALSE(metadata_->numbers("odds"));  // 2^24 + 1 is no binary32
    EXPECT_FALSE(metadata_->booleans("ints"));
}

TEST_F(MetadataReading, KeepsTheOrderOfTheFile) {
    EXPECT_EQ(metadata_->entries().front().key, "u8");
    EXPECT_EQ(metadata_->entries().back().key, "none");
    EXPECT_EQ(metadata_->entries().size(), 15u);
}

TEST(MetadataValue, WalksNestedArrays) {
    GgufBytes bytes;
    bytes.start(0, 1).key("nested", Type::array).array(Type::array, 2);
    bytes.array(Type::string, 2).text("a").text("bc").array(Type::i32, 1).put<int32_t>(-3);
    const auto file = bytes.open();
    ASSERT_TRUE(file) << file.error().message;
    const MetadataValue value = *file->metadata().find("nested");
    EXPECT_EQ(value.type_name(), "array of array");
    const auto rows = value.elements();
    ASSERT_EQ(rows.size(), 2u);
    EXPECT_EQ(rows[0].elements().at(1).as_string(), "bc");
    EXPECT_EQ(rows[1].elements().at(0).as_i64(), -3);
    EXPECT_EQ(value.elements(1).size(), 1u);
}

}  // namespace
}  // namespace invar
