// UTF-8: the oracle for broken and cut input is Python's decoder with errors="replace" (fixture broken_utf8.json), for
// whole characters the encoding's own definition.
#include "text/tokenizer/utf8.h"

#include <gtest/gtest.h>

#include "text/tokenizer/tokenizer_test_support.h"

namespace invar {
namespace {

using namespace tokenizer_test;

std::string from_hex(const std::string& hex) {
    std::string bytes;
    for (size_t i = 0; i < hex.size(); i += 2)
        bytes.push_back(static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16)));
    return bytes;
}

TEST(Utf8, ReadsEveryCharacterAndNothingElseExhaustive) {
    size_t characters = 0;
    for (char32_t character = 0; character < 0x110000; ++character) {
        if (character >= 0xD800 && character < 0xE000) continue;
        std::string text;
        append_utf8(text, character);
        const Utf8Step step = read_utf8(text);
        ASSERT_EQ(step.state, Utf8Step::State::whole);
        ASSERT_EQ(step.character, character);
        ASSERT_EQ(step.bytes, text.size());
        for (size_t cut = 1; cut < text.size(); ++cut) {
            const Utf8Step part = read_utf8(std::string_view(text).substr(0, cut));
            ASSERT_EQ(part.state, Utf8Step::State::unfinished);
            ASSERT_EQ(part.bytes, cut);
        }
        ++characters;
    }
    EXPECT_EQ(characters, 1112064u);  // 0x110000 - 2048 surrogates
    // Of all 2^24 sequences of three bytes, exactly those characters are valid.
    size_t valid = 0;
    for (uint32_t bytes = 0; bytes < (1u << 24); ++bytes) {
        const char text[3] = {static_cast<char>(bytes >> 16), static_cast<char>(bytes >> 8), static_cast<char>(bytes)};
        const Utf8Step step = read_utf8({text, 3});
        valid += step.state == Utf8Step::State::whole && step.bytes == 3;
    }
    EXPECT_EQ(valid, 0x10000u - 0x800u - 0x800u);  // U+0800 to U+FFFF without surrogates
}

TEST(Utf8, FindsTheFirstInvalidByte) {
    EXPECT_EQ(find_invalid_utf8(""), std::nullopt);
    EXPECT_EQ(find_invalid_utf8("a\xC3\xA9\xF0\x9F\x99\x82"), std::nullopt);
    EXPECT_EQ(find_invalid_utf8("ab\xFF"), 2u);
    EXPECT_EQ(find_invalid_utf8("\xE2\x82"), 0u);
    EXPECT_EQ(find_invalid_utf8("a\xED\xA0\x80"), 1u);
    EXPECT_EQ(find_invalid_utf8("\xC3\xA9\xC0\xAF"), 2u);
}

TEST(Utf8Stream, ReplacesWhatPythonReplacesHoweverItIsCut) {
    const auto cases = read_fixture("broken_utf8.json").get<std::vector<std::vector<std::string>>>();
    ASSERT_GE(cases.size(), 100u);
    size_t cuts = 0, differ = 0;
    for (const auto& broken : cases) {
        const std::string bytes = from_hex(broken[0]);
        EXPECT_EQ(streamed_at_once(bytes), broken[1]) << broken[0];
        // Every way to cut it, up to 12 places.
        const uint32_t ways = 1u << std::min<size_t>(bytes.size() - 1, 12);
        for (uint32_t way = 0; way < ways; ++way) {
            Utf8Stream stream;
            std::string text;
            size_t begin = 0;
            for (size_t i = 1; i <= bytes.size(); ++i) {
                if (i < bytes.size() && !(i <= 12 && way >> (i - 1) & 1)) continue;
                const std::string shown = stream.feed(std::string_view(bytes).substr(begin, i - begin));
                ASSERT_FALSE(find_invalid_utf8(shown));
                text += shown;
                begin = i;
            }
            text += stream.finish();
            EXPECT_EQ(text, broken[1]) << broken[0];
            differ += text != broken[1];
            ++cuts;
        }
    }
    std::printf("[utf8] %zu broken texts cut in %zu ways, %zu differ from Python\n", cases.size(), cuts, differ);
}

TEST(Utf8Stream, ShowsACharacterWithItsLastByte) {
    Utf8Stream stream;
    EXPECT_EQ(stream.feed("a\xF0\x9F"), "a");
    EXPECT_EQ(stream.feed("\x99"), "");
    EXPECT_EQ(stream.feed("\x82"
                          "b"),
              "\xF0\x9F\x99\x82"
              "b");
    EXPECT_EQ(stream.feed("\xE2\x82"), "");
    EXPECT_EQ(stream.finish(), "\xEF\xBF\xBD");
    EXPECT_EQ(stream.finish(), "");
    EXPECT_EQ(stream.feed("c"), "c");
}

}  // namespace
}  // namespace invar
