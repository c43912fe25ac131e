// inspect(): totals that add up, abbreviation, and text that is always valid JSON.
#include "files/inspect.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/json.h"
#include "files/gguf_bytes.h"

namespace invar {
namespace {

TEST(Inspect, ListsTensorsAndAddsUpFormats) {
    const auto file = GgufFile::open(std::filesystem::path(INVAR_TEST_DATA) / "gguf/every_type.gguf");
    ASSERT_TRUE(file);
    const Json description = inspect(*file);
    ASSERT_EQ(description["tensors"].size(), 20u);
    const Json& q6_k = description["tensors"][15];
    EXPECT_EQ(q6_k["name"], "q6_k.weight");
    EXPECT_EQ(q6_k["shape"].dump(), "[2,256]");
    EXPECT_EQ(q6_k["bytes"], 420);
    EXPECT_EQ(q6_k["weights"], 512);
    ASSERT_EQ(description["formats"].size(), 17u);
    EXPECT_EQ(description["formats"][0].dump(), R"({"format":"f32","tensors":4,"weights":53,"bytes":212})");
    uint64_t bytes = 0;
    for (const Json& row : description["formats"]) bytes += row["bytes"].get<uint64_t>();
    EXPECT_EQ(bytes, file->tensor_bytes());
    EXPECT_EQ(description["tensor_bytes"], bytes);
    EXPECT_EQ(description["parts"].size(), 1u);
}

TEST(Inspect, AbbreviatesLongArraysAndTexts) {
    GgufBytes bytes;
    bytes.start(0, 2).key("list", MetadataType::array).array(MetadataType::u8, 100);
    for (uint8_t i = 0; i < 100; ++i) bytes.put(i);
    bytes.key("text", MetadataType::string).text("abc\xc3\xa9" + std::string(1000, 'x'));
    const Json rows = inspect(bytes.open().value(), {.array_elements = 3, .text_bytes = 4})["metadata"];
    EXPECT_EQ(rows[0].dump(), R"({"key":"list","type":"array of u8","value":[0,1,2],"count":100})");
    EXPECT_EQ(rows[1].dump(), R"({"key":"text","type":"string","value":"abc...","bytes":1005})");
}

TEST(Inspect, IsValidJsonWhateverTheFileHolds) {
    GgufBytes bytes;
    bytes.start(0, 3).key("text", MetadataType::string).text("\xff\xfe");
    bytes.key("nan", MetadataType::f32).put(std::numeric_limits<float>::quiet_NaN());
    bytes.key("inf", MetadataType::f64).put(-std::numeric_limits<double>::infinity());
    const Json rows = inspect(bytes.open().value())["metadata"];
    EXPECT_EQ(rows[0]["value"], "\\xff\\xfe");
    EXPECT_EQ(rows[1]["value"], "nan");
    EXPECT_EQ(rows[2]["value"], "-inf");
    EXPECT_TRUE(parse_json(rows.dump()));
}

}  // namespace
}  // namespace invar
