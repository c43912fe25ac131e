// What the tokenizer tests share: fixtures read from tests/data/tokenizer, a seeded source of random text, and the
// comparison of ids that prints what it compared.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "text/tokenizer/tokenizer.h"

namespace invar::tokenizer_test {

inline std::string read_file(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

inline Json read_fixture(const std::string& name) {
    const std::string path = std::string(INVAR_TEST_DATA "/tokenizer/") + name;
    Result<Json> json = parse_json(read_file(path));
    EXPECT_TRUE(json) << path << ": " << (json ? "" : json.error().message);
    return json.value_or(Json());
}

// A vocabulary as tools/fixtures/tokenizer.py writes it.
inline VocabularySource source_of(const Json& json) {
    VocabularySource source;
    source.model = json["model"];
    source.tokens = json["tokens"].get<std::vector<std::string>>();
    source.kinds = json["kinds"].get<std::vector<int32_t>>();
    if (json.contains("scores")) source.scores = json["scores"].get<std::vector<float>>();
    if (json.contains("merges")) source.merges = json["merges"].get<std::vector<std::string>>();
    source.bos = json["bos"];
    source.eos = json["eos"];
    if (json.contains("unknown")) source.unknown = json["unknown"];
    source.origin = "fixture";
    return source;
}

inline Tokenizer tokenizer_of(VocabularySource source) {
    Result<Tokenizer> tokenizer = Tokenizer::create(std::move(source));
    if (!tokenizer) throw std::runtime_error(tokenizer.error().message);
    return std::move(*tokenizer);
}

inline std::string error_of(VocabularySource source) {
    Result<Tokenizer> tokenizer = Tokenizer::create(std::move(source));
    return tokenizer ? "no error" : tokenizer.error().message;
}

inline std::vector<int32_t> encode(const Tokenizer& tokenizer, std::string_view text,
                                   Specials specials = Specials::as_text,
                                   Tokenizer::Ends ends = Tokenizer::Ends::none) {
    Result<std::vector<int32_t>> tokens = tokenizer.encode(text, specials, ends);
    EXPECT_TRUE(tokens) << (tokens ? "" : tokens.error().message);
    return tokens.value_or(std::vector<int32_t>());
}

// U+2581 comes back from SentencePiece as a space.
inline std::string with_space_marks_as_spaces(std::string_view text) {
    constexpr std::string_view kMark = "\xE2\x96\x81";
    std::string spaced;
    for (size_t offset = 0; offset < text.size();) {
        const bool is_mark = text.substr(offset).starts_with(kMark);
        spaced += is_mark ? ' ' : text[offset];
        offset += is_mark ? kMark.size() : 1;
    }
    return spaced;
}

inline std::string streamed_at_once(std::string_view bytes) {
    Utf8Stream stream;
    std::string text = stream.feed(bytes);
    text += stream.finish();
    return text;
}

// Compares texts with their expected ids, one test failure for each text that differs, and counts.
class IdComparison {
  public:
    explicit IdComparison(std::string what) : what_(std::move(what)) {}
    ~IdComparison() {
        std::printf("[tokenizer] %s: %zu texts, %zu ids compared, %zu texts differ\n", what_.c_str(), texts_, ids_,
                    differ_);
    }
    IdComparison(const IdComparison&) = delete;

    void compare(std::string_view text, const std::vector<int32_t>& tokens, const std::vector<int32_t>& expected) {
        ++texts_;
        ids_ += expected.size();
        differ_ += tokens != expected;
        EXPECT_EQ(tokens, expected) << what_ << ": '" << text << "'";
    }
    size_t texts() const { return texts_; }

  private:
    std::string what_;
    size_t texts_ = 0;
    size_t ids_ = 0;
    size_t differ_ = 0;
};

// Valid UTF-8 with everything that pre-tokenisers treat differently: letters of several scripts and both cases, digits,
// white space and line breaks in runs, contractions, marks, emoji with joiners, controls, unassigned characters.
class RandomText {
  public:
    explicit RandomText(uint64_t seed) : random_(seed) {}

    size_t below(size_t bound) { return bound == 0 ? 0 : random_() % bound; }

    char32_t character() {
        static constexpr struct {
            char32_t first, last;
        } kRanges[] = {{'a', 'z'},       {'a', 'z'},       {'A', 'Z'},         {'0', '9'},          {' ', ' '},
                       {' ', ' '},       {'\t', '\r'},     {'!', '/'},         {'[', '`'},          {0x00, 0x1F},
                       {0x80, 0xFF},     {0x100, 0x24F},   {0x300, 0x36F},     {0x370, 0x3FF},      {0x400, 0x4FF},
                       {0x590, 0x6FF},   {0x900, 0x97F},   {0xE00, 0xE7F},     {0x1780, 0x17FF},    {0x1F00, 0x1FFF},
                       {0x2000, 0x206F}, {0x2100, 0x218F}, {0x3000, 0x30FF},   {0x4E00, 0x4EFF},    {0xAC00, 0xACFF},
                       {0xFE00, 0xFE0F}, {0xFF00, 0xFFEF}, {0x1F300, 0x1F64F}, {0x10000, 0x10FFFF}, {0xE000, 0xFFFF}};
        const auto& range = kRanges[below(std::size(kRanges))];
        return range.first + static_cast<char32_t>(below(range.last - range.first + 1));
    }

    std::string text(size_t most_pieces) {
        static constexpr std::string_view kPieces[] = {
            "'s",    "'LL",    "'re ", "\r\n", "\n\n",         "   ",   "\t \n",  " the",     "the",
            "Hello", " World", "3.14", "1234", "\xE2\x80\x8D", "don't", "  \n  ", "\xC2\xA0", "\xE2\x96\x81"};
        std::string text;
        for (size_t pieces = below(most_pieces + 1); pieces > 0; --pieces) {
            if (below(4) == 0) {
                text += kPieces[below(std::size(kPieces))];
            } else {
                append_utf8(text, character());
            }
        }
        return text;
    }

  private:
    std::mt19937_64 random_;
};

}  // namespace invar::tokenizer_test
