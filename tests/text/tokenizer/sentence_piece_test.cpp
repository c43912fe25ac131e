// SentencePiece against the library of that name (fixtures, tools/fixtures/tokenizer.py), and the rules about the space
// that is put in front and taken away again.
#include <gtest/gtest.h>

#include <chrono>

#include "base/json.h"
#include "text/tokenizer/tokenizer_test_support.h"

namespace invar {
namespace {

using namespace tokenizer_test;
using Ends = Tokenizer::Ends;

VocabularySource trained() { return source_of(read_fixture("sentence_piece.json")); }

void compare_with_reference(const Tokenizer& tokenizer, const Json& fixture, const std::string& what) {
    auto strings = read_fixture("strings.json").get<std::vector<std::string>>();
    const Json byte_level = read_fixture("byte_level_ids.json");
    const auto first = strings.begin() + static_cast<int64_t>(byte_level["first_with_specials"].get<size_t>());
    strings.erase(first, first + static_cast<int64_t>(byte_level["gpt-2"]["as_text"].size()));
    const auto expected = fixture["ids"].get<std::vector<std::vector<int32_t>>>();
    ASSERT_EQ(strings.size(), expected.size());
    ASSERT_GE(strings.size(), 180u);
    IdComparison comparison(what);
    for (size_t i = 0; i < strings.size(); ++i) {
        const std::vector<int32_t> tokens = encode(tokenizer, strings[i]);
        comparison.compare(strings[i], tokens, expected[i]);
        EXPECT_EQ(tokenizer.decode(tokens, true), with_space_marks_as_spaces(strings[i]));
    }
}

TEST(SentencePiece, GivesTheIdsOfTheReferenceAndTheTextBack) {
    compare_with_reference(tokenizer_of(trained()), read_fixture("sentence_piece.json"), "sentencepiece");
}

TEST(SentencePiece, TakesUnusedTokensApartAsTheReferenceDoes) {
    VocabularySource source = trained();
    const Json fixture = read_fixture("sentence_piece_unused.json");
    source.kinds = fixture["kinds"].get<std::vector<int32_t>>();
    ASSERT_GT(std::count(source.kinds.begin(), source.kinds.end(), 5), 100);
    compare_with_reference(tokenizer_of(source), fixture, "sentencepiece, a third unused");
}

// Tokens: 0 <unk>, 1 <s>, 2 </s>, 3 <|user|>, 4.. the bytes, then pieces.
VocabularySource small() {
    VocabularySource source;
    source.model = "llama";
    source.origin = "small";
    source.tokens = {"<unk>", "<s>", "</s>", "<|user|>"};
    source.kinds = {2, 3, 3, 4};
    for (int byte = 0; byte < 256; ++byte) {
        source.tokens.push_back(fmt::format("<0x{:02X}>", byte));
        source.kinds.push_back(6);
    }
    for (const char* piece : {"\xE2\x96\x81", "a", "b",
                              "\xE2\x96\x81"
                              "a",
                              "ab",
                              "\xE2\x96\x81"
                              "ab"}) {
        source.tokens.emplace_back(piece);
        source.kinds.push_back(1);
    }
    source.scores.assign(source.tokens.size(), 0.0f);
    for (size_t i = 260; i < source.tokens.size(); ++i) source.scores[i] = 260.0f - static_cast<float>(i);
    source.bos = 1;
    source.eos = 2;
    source.unknown = 0;
    return source;
}
constexpr int32_t kByte = 4, kSpace = 260, kA = 261, kB = 262, kSpaceA = 263, kAB = 264, kSpaceAB = 265;
using Ids = std::vector<int32_t>;

TEST(SentencePiece, PutsASpaceInFrontAndTakesOneAway) {
    const Tokenizer tokenizer = tokenizer_of(small());
    EXPECT_TRUE(tokenizer.adds_space_prefix());
    EXPECT_EQ(encode(tokenizer, ""), Ids{});
    EXPECT_EQ(encode(tokenizer, " "), (Ids{kSpace, kSpace}));
    EXPECT_EQ(encode(tokenizer, "ab"), (Ids{kSpaceAB}));
    EXPECT_EQ(encode(tokenizer, " ab"), (Ids{kSpace, kSpaceAB}));
    EXPECT_EQ(encode(tokenizer, "b a"), (Ids{kSpace, kB, kSpaceA}));
    EXPECT_EQ(tokenizer.decode(Ids{kSpaceA, kB}, true), "ab");
    EXPECT_EQ(tokenizer.decode(Ids{kSpace, kSpaceA, kB}, true), " ab");
    EXPECT_EQ(tokenizer.decode(Ids{kA, kSpaceA}, true), "a a");
    EXPECT_EQ(tokenizer.piece(kSpaceA), " a");
    EXPECT_EQ(tokenizer.piece(kSpaceAB), " ab");
    EXPECT_EQ(tokenizer.piece(kAB), "ab");
}

TEST(SentencePiece, PutsASpaceBehindSpecialTokensToo) {
    const Tokenizer tokenizer = tokenizer_of(small());
    EXPECT_EQ(encode(tokenizer, "a<s>a", Specials::parse), (Ids{kSpaceA, 1, kSpaceA}));
    EXPECT_EQ(encode(tokenizer, "<|user|>a</s>", Specials::parse), (Ids{3, kSpaceA, 2}));
    for (const std::string text : {"a<s>a", "<|user|>a</s>", "<|user|> a</s> ", " <s>  <s>", "<unk>a"}) {
        EXPECT_EQ(tokenizer.decode(encode(tokenizer, text, Specials::parse), true), text);
    }
    EXPECT_EQ(tokenizer.decode(Ids{1, kSpaceA, 2}, false), "a");
    EXPECT_EQ(tokenizer.decode(Ids{3, kSpaceA, 2}, false), "<|user|>a");  // user-defined tokens are text
}

TEST(SentencePiece, ObeysTheFileAboutSpaceAndEnds) {
    VocabularySource source = small();
    EXPECT_EQ(encode(tokenizer_of(source), "a", Specials::parse, Ends::add), (Ids{1, kSpaceA}));
    EXPECT_EQ(encode(tokenizer_of(source), "", Specials::parse, Ends::add), Ids{1});
    // A template that writes the token itself does not get it twice.
    EXPECT_EQ(encode(tokenizer_of(source), "<s>a", Specials::parse, Ends::add), (Ids{1, kSpaceA}));
    source.add_space_prefix = false;
    source.add_bos = false;
    source.add_eos = true;
    const Tokenizer plain = tokenizer_of(source);
    EXPECT_EQ(encode(plain, "ab a", Specials::parse, Ends::add), (Ids{kAB, kSpaceA, 2}));
    EXPECT_EQ(plain.decode(Ids{kSpaceA}, false), " a");
}

TEST(SentencePiece, FallsBackToBytesAndThenToOneUnknownToken) {
    VocabularySource source = small();
    EXPECT_EQ(encode(tokenizer_of(source),
                     "\xC3\xA9"
                     "a"),
              (Ids{kSpace, kByte + 0xC3, kByte + 0xA9, kA}));
    source.tokens[kByte + 0xA9] = "<gone>";
    source.kinds[kByte + 0xA9] = 1;
    EXPECT_EQ(encode(tokenizer_of(source),
                     "\xC3\xA9\xC3\xA9"
                     "a\xC3\xA9"),
              (Ids{kSpace, 0, kA, 0}));
    source.unknown = -1;
    source.kinds[0] = 1;
    const auto tokens = tokenizer_of(source).encode("a\xC3\xA9", Specials::parse, Ends::none);
    ASSERT_FALSE(tokens);
    EXPECT_EQ(tokens.error().message,
              "small: the vocabulary has no token for '\xC3\xA9', none for its bytes, and no unknown token");
}

TEST(SentencePiece, SwallowsWhiteSpaceBehindTokensThatAskForIt) {
    VocabularySource source = small();
    source.strip_after = {3};
    const Tokenizer tokenizer = tokenizer_of(source);
    EXPECT_EQ(encode(tokenizer,
                     "<|user|>\n \xC2\xA0"
                     "a<s> a",
                     Specials::parse),
              (Ids{3, kSpaceA, 1, kSpace, kSpaceA}));
    EXPECT_EQ(encode(tokenizer, "<|user|> \n", Specials::parse), Ids{3});
}

// A token with a space inside forbids cutting the text at spaces before it is merged.
TEST(SentencePiece, FindsTokensThatSpanWords) {
    VocabularySource source = small();
    source.tokens.emplace_back(
        "b\xE2\x96\x81"
        "a");
    source.kinds.push_back(1);
    source.scores.push_back(-1.0f);
    const auto spanning = static_cast<int32_t>(source.tokens.size()) - 1;
    EXPECT_EQ(encode(tokenizer_of(source), "bb a"), (Ids{kSpace, kB, spanning}));
    EXPECT_EQ(encode(tokenizer_of(small()), "bb a"), (Ids{kSpace, kB, kB, kSpaceA}));
}

TEST(SentencePiece, TextNeverBecomesAControlToken) {
    VocabularySource source = small();
    source.kinds[kAB] = 3;
    source.scores[kAB] = 100.0f;
    source.add_space_prefix = false;
    EXPECT_EQ(encode(tokenizer_of(source), "ab", Specials::as_text), (Ids{kA, kB}));
    EXPECT_EQ(encode(tokenizer_of(source), "ab", Specials::parse), (Ids{kAB}));
}

TEST(SentencePiece, TakesLongRunsOfOneCharacterWithoutSquaringTheCost) {
    const Tokenizer tokenizer = tokenizer_of(trained());
    double slowest = 0;
    for (const std::string unit : {"a", " ", "7", "the", "\n", "\xF0\x9F\x99\x82", "\xE6\x88\x91"}) {
        std::string text;
        while (text.size() < (1u << 19)) text += unit;
        const auto start = std::chrono::steady_clock::now();
        const std::vector<int32_t> tokens = encode(tokenizer, text);
        slowest = std::max(slowest, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
        ASSERT_EQ(tokenizer.decode(tokens, true), text);
    }
    std::printf("[speed] sentencepiece: 512 KiB of one unit takes at most %.3f s\n", slowest);
    EXPECT_LT(slowest, 20.0);  // a quadratic step takes hours
}

}  // namespace
}  // namespace invar
