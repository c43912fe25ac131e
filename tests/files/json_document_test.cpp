#include "files/json_document.h"

#include <gtest/gtest.h>

#include <chrono>

#include "base/json.h"

namespace invar {
namespace {

std::string refusal(std::string_view text) {
    const auto value = parse_json_document(text, "config.json");
    return value ? std::string() : value.error().message;
}

TEST(JsonDocument, GivesTheSameTreeAsTheParser) {
    const std::string text =
        R"({"z": [1, -2, 2.5, true, null, {"x": "\u00e9\"\\"}, []], "a": {"z": {}}, "": 18446744073709551615})";
    const auto value = parse_json_document(text, "config.json");
    ASSERT_TRUE(value.has_value());
    EXPECT_EQ(*value, *parse_json(text));
    EXPECT_EQ(value->dump(), parse_json(text)->dump());  // the order of keys, too
    EXPECT_EQ(value->at("z").at(2).get<double>(), 2.5);
}

TEST(JsonDocument, RefusesAKeyThatStandsTwice) {
    EXPECT_EQ(refusal(R"({"a": 1, "b": {"a": 2}})"), "");
    EXPECT_EQ(refusal(R"({"a": 1, "a": 1})"),
              "config.json: the key 'a' stands twice in one object; only one of the two can be meant");
    EXPECT_EQ(refusal(R"({"q": [{"ignore": 1}, {"ignore": 1, "\u0069gnore": 2}]})"),
              "config.json: the key 'q.ignore' stands twice in one object; only one of the two can be meant");
}

TEST(JsonDocument, RefusesWhatIsNotJson) {
    EXPECT_EQ(refusal(""), "config.json: is not valid JSON at its byte 1; the file is damaged or incomplete");
    EXPECT_EQ(refusal("{\"a\": }"), "config.json: is not valid JSON at its byte 7; the file is damaged or incomplete");
    EXPECT_EQ(refusal("{} {}"), "config.json: is not valid JSON at its byte 4; the file is damaged or incomplete");
    EXPECT_EQ(refusal("{\"a\": 1e999}"), "config.json: the number before byte 11 is too large for binary64");
    EXPECT_EQ(refusal(std::string(99, '[') + std::string(99, ']')), "");
    EXPECT_EQ(refusal(std::string(101, '[')), "config.json: is nested deeper than 100 levels");
}

TEST(JsonDocument, ReadsPythonsConstantsAsTexts) {
    const auto value = parse_json_document(
        R"({"limit": [0.0, Infinity], "low": -Infinity , "x": NaN, "text": "NaN, \"Infinity,", "minus": -1})", "c");
    ASSERT_TRUE(value.has_value()) << value.error().message;
    EXPECT_EQ(value->at("limit").at(1), "Infinity");
    EXPECT_EQ(value->at("low"), "-Infinity");
    EXPECT_EQ(value->at("x"), "NaN");
    EXPECT_EQ(value->at("text"), "NaN, \"Infinity,");
    EXPECT_EQ(value->at("minus"), -1);
    EXPECT_NE(refusal("{NaN: 1}"), "");
    EXPECT_NE(refusal("{\"a\": NaNa}"), "");
    EXPECT_NE(refusal("NaN"), "");
    EXPECT_NE(refusal("{\"a\": Infinity"), "");
}

TEST(JsonDocument, TakesTimeInProportionToItsKeys) {
    std::string text = "{";
    for (int i = 0; i < 200'000; ++i) text += fmt::format("{}\"module.{}\": 1", i ? "," : "", i);
    text += "}";
    const auto begin = std::chrono::steady_clock::now();
    const auto value = parse_json_document(text, "config.json");
    ASSERT_TRUE(value.has_value());
    EXPECT_EQ(value->size(), 200'000u);
    // Looking every key up in all before it takes minutes.
    EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(20));
}

}  // namespace
}  // namespace invar
