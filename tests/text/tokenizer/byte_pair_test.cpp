// Byte-level BPE against the PyPI package `tokenizers` (fixtures, tools/fixtures/tokenizer.py), for every row of the
// table of pre-tokenisers, and what it costs at its worst.
#include <gtest/gtest.h>

#include <chrono>

#include "base/json.h"
#include "text/tokenizer/pre_tokenizer.h"
#include "text/tokenizer/tokenizer_test_support.h"

namespace invar {
namespace {

using namespace tokenizer_test;

VocabularySource byte_level_source(const std::string& pre) {
    VocabularySource source = source_of(read_fixture("byte_level.json"));
    source.pre = pre;
    return source;
}

class BytePair : public testing::TestWithParam<std::string> {};

TEST_P(BytePair, GivesTheIdsOfTheReferenceAndTheTextBack) {
    const Tokenizer tokenizer = tokenizer_of(byte_level_source(GetParam()));
    const auto strings = read_fixture("strings.json").get<std::vector<std::string>>();
    const Json all = read_fixture("byte_level_ids.json");
    ASSERT_TRUE(all.contains(GetParam())) << "no fixture for this pre-tokeniser";
    const auto expected = all[GetParam()]["parse"].get<std::vector<std::vector<int32_t>>>();
    ASSERT_EQ(expected.size(), strings.size());
    ASSERT_GE(strings.size(), 200u);
    IdComparison comparison(GetParam());
    for (size_t i = 0; i < strings.size(); ++i) {
        const std::vector<int32_t> tokens = encode(tokenizer, strings[i], Specials::parse);
        comparison.compare(strings[i], tokens, expected[i]);
        EXPECT_EQ(tokenizer.decode(tokens, true), strings[i]);
    }
}

// Ids alone would miss a wrong cut between characters that no merge joins.
TEST_P(BytePair, CutsWordsWhereTheReferenceDoes) {
    const Result<WordSplitter> splitter = splitter_of(*find_pre_tokenizer(GetParam()));
    ASSERT_TRUE(splitter) << splitter.error().message;
    const auto strings = read_fixture("strings.json").get<std::vector<std::string>>();
    const Json all = read_fixture("byte_level_ids.json");
    const auto expected = all[GetParam()]["word_bytes"].get<std::vector<std::vector<size_t>>>();
    ASSERT_EQ(expected.size(), strings.size());
    WordSplitter::Work work;
    size_t words_seen = 0, differ = 0;
    for (size_t i = 0; i < strings.size(); ++i) {
        work.text = strings[i];
        ASSERT_TRUE(splitter->split(work));
        std::vector<size_t> word_bytes;
        for (const Span word : work.words) word_bytes.push_back(word.end - word.begin);
        EXPECT_EQ(word_bytes, expected[i]) << "'" << strings[i] << "'";
        differ += word_bytes != expected[i];
        words_seen += work.words.size();
    }
    std::printf("[tokenizer] %s: %zu texts, %zu words compared, %zu texts differ\n", GetParam().c_str(), strings.size(),
                words_seen, differ);
}

TEST_P(BytePair, LeavesControlTokensAsTextWhereAsked) {
    const Tokenizer tokenizer = tokenizer_of(byte_level_source(GetParam()));
    const auto strings = read_fixture("strings.json").get<std::vector<std::string>>();
    const Json all = read_fixture("byte_level_ids.json");
    const size_t first = all["first_with_specials"];
    const auto expected = all[GetParam()]["as_text"].get<std::vector<std::vector<int32_t>>>();
    ASSERT_GE(expected.size(), 15u);
    IdComparison comparison(GetParam() + ", specials as text");
    for (size_t i = 0; i < expected.size(); ++i) {
        const std::vector<int32_t> tokens = encode(tokenizer, strings[first + i], Specials::as_text);
        comparison.compare(strings[first + i], tokens, expected[i]);
        for (const int32_t token : tokens) EXPECT_NE(tokenizer.kind(token), TokenKind::control);
        EXPECT_EQ(tokenizer.decode(tokens, false), strings[first + i]);
    }
}

// A long run of each kind of character: the cost must not be its square.
TEST_P(BytePair, TakesLongRunsOfOneCharacterWithoutSquaringTheCost) {
    const Tokenizer tokenizer = tokenizer_of(byte_level_source(GetParam()));
    double slowest = 0;
    std::string slowest_text;
    for (const std::string unit :
         {"a", "A", "7", " ", "!", "\n", "\t", "ab", " a", "\xE6\x88\x91", "\xCC\x81", "Ab", "'s", "\r", "a!"}) {
        for (const std::string end : {"", "x"}) {
            std::string text;
            while (text.size() < (1u << 19)) text += unit;
            text += end;
            const auto start = std::chrono::steady_clock::now();
            const std::vector<int32_t> tokens = encode(tokenizer, text);
            const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
            if (seconds > slowest) {
                slowest = seconds;
                slowest_text = unit + end;
            }
            ASSERT_EQ(tokenizer.decode(tokens, true), text) << "of '" << unit << "' and '" << end << "'";
        }
    }
    std::printf("[speed] %s: 512 KiB of one unit takes at most %.3f s ('%s')\n", GetParam().c_str(), slowest,
                slowest_text.c_str());
    EXPECT_LT(slowest, 20.0);  // a quadratic step takes hours; sanitizers and busy machines take up to 3 s
}

std::vector<std::string> row_names() {
    std::vector<std::string> names;
    for (const PreTokenizerRow& row : pre_tokenizer_rows()) names.emplace_back(row.name);
    return names;
}

INSTANTIATE_TEST_SUITE_P(Tokenizer, BytePair, testing::ValuesIn(row_names()), [](const auto& row) {
    std::string name = row.param;
    for (char& character : name) {
        if (!std::isalnum(static_cast<unsigned char>(character))) character = '_';
    }
    return name;
});

TEST(BytePair, MergesTheStrongestPairFirstAndTheLeftmostAmongEquals) {
    VocabularySource source = byte_level_source("qwen2");
    source.tokens = {"a", "b", "c", "ab", "bc", "aa", "abc", "aab"};
    source.kinds.assign(8, 1);
    source.bos = source.eos = -1;
    source.merges = {"b c", "a a", "a b", "a bc"};
    const Tokenizer tokenizer = tokenizer_of(source);
    EXPECT_EQ(encode(tokenizer, "abc"), (std::vector<int32_t>{6}));  // b c, then a bc
    EXPECT_EQ(encode(tokenizer, "abab"), (std::vector<int32_t>{3, 3}));
    EXPECT_EQ(encode(tokenizer, "aaab"), (std::vector<int32_t>{5, 3}));  // the left pair of aaa first
    EXPECT_EQ(encode(tokenizer, "aaaa"), (std::vector<int32_t>{5, 5}));
    EXPECT_EQ(encode(tokenizer, "aabc"), (std::vector<int32_t>{5, 4}));  // bc is taken before aa, then aa
}

TEST(BytePair, NamesAByteThatHasNoToken) {
    VocabularySource source = byte_level_source("qwen2");
    source.tokens = {"a", "b"};
    source.kinds = {1, 1};
    source.bos = source.eos = -1;
    source.merges.clear();
    const Tokenizer tokenizer = tokenizer_of(source);
    const auto tokens = tokenizer.encode("ab\xC3\xA9", Specials::parse, Tokenizer::Ends::none);
    ASSERT_FALSE(tokens);
    EXPECT_EQ(tokens.error().message,
              "fixture: the vocabulary has no token for byte 0xC3, which is at byte 2 of the text");
}

TEST(BytePair, LeavesOutMergesThatNameNoTokensAndSaysSo) {
    VocabularySource source = byte_level_source("qwen2");
    source.tokens = {"a", "b", "ab", "c"};
    source.kinds = {1, 1, 3, 1};  // ab is a control token: text must not become one
    source.bos = source.eos = -1;
    source.merges = {"a b", "b c", "x y"};
    const Tokenizer tokenizer = tokenizer_of(source);
    EXPECT_EQ(encode(tokenizer, "abc"), (std::vector<int32_t>{0, 1, 3}));
    ASSERT_EQ(tokenizer.notes().size(), 1u);
    EXPECT_EQ(tokenizer.notes()[0], "3 of 3 merges are not used: they name texts that are no tokens, or special ones");
}

TEST(BytePair, RefusesMergesThatAreNotTwoTexts) {
    for (const std::string merge : {"", " ", "ab", "a ", " b", "a b c", "a  b"}) {
        VocabularySource source = byte_level_source("qwen2");
        source.merges = {"t h", merge};
        EXPECT_EQ(error_of(source),
                  "fixture: merge 1 is not two texts with one space between them (tokenizer.ggml.merges)")
            << "'" << merge << "'";
    }
}

TEST(PreTokenizer, RefusesUnknownNamesWithTheSupportedOnes) {
    const std::string message = error_of(byte_level_source("unheard-of"));
    EXPECT_TRUE(
        message.starts_with("fixture: pre-tokeniser 'unheard-of' is not supported (tokenizer.ggml.pre may be gpt-2, "))
        << message;
    for (const PreTokenizerRow& row : pre_tokenizer_rows()) EXPECT_NE(message.find(row.name), std::string::npos);
}

TEST(PreTokenizer, IsNeverGuessed) {
    EXPECT_TRUE(
        error_of(byte_level_source("default")).starts_with("fixture: tokenizer.ggml.pre is 'default', which means"));
    VocabularySource source = byte_level_source("");
    source.architecture = "llama";
    EXPECT_TRUE(error_of(source).starts_with("fixture: the file names no pre-tokeniser, and a wrong one would spoil"));
    source.architecture = "qwen3moe";
    const Tokenizer tokenizer = tokenizer_of(source);
    EXPECT_EQ(tokenizer.pre_tokenizer(), "qwen2");
    ASSERT_EQ(tokenizer.notes().size(), 1u);
    EXPECT_EQ(tokenizer.notes()[0], "the file names no pre-tokeniser: 'qwen2', as all qwen3moe models");
}

TEST(PreTokenizer, KnowsEveryNameOnceAndSplitsWithoutGaps) {
    std::vector<std::string> names;
    for (const PreTokenizerRow& row : pre_tokenizer_rows()) {
        names.emplace_back(row.name);
        names.insert(names.end(), row.also.begin(), row.also.end());
        for (const std::string_view name : row.also) EXPECT_EQ(find_pre_tokenizer(name), &row);
    }
    std::sort(names.begin(), names.end());
    EXPECT_EQ(std::adjacent_find(names.begin(), names.end()), names.end());

    RandomText random(7);
    size_t words_seen = 0;
    WordSplitter::Work work;
    for (const PreTokenizerRow& row : pre_tokenizer_rows()) {
        const Result<WordSplitter> splitter = splitter_of(row);
        ASSERT_TRUE(splitter) << splitter.error().message;
        for (int round = 0; round < 300; ++round) {
            const std::string text = random.text(60);
            work.text = text;
            ASSERT_TRUE(splitter->split(work));
            size_t end = 0;
            for (const Span word : work.words) {
                EXPECT_LT(word.begin, word.end);
                EXPECT_EQ(word.begin, end);
                end = word.end;
                EXPECT_FALSE(find_invalid_utf8(std::string_view(text).substr(word.begin, word.end - word.begin)));
            }
            EXPECT_EQ(end, text.size());
            words_seen += work.words.size();
        }
    }
    std::printf("[tokenizer] %zu words of random text, no gaps\n", words_seen);
}

TEST(Pattern, ReadsWhiteSpaceAsUnicodeDoes) {
    const Result<Pattern> blank = Pattern::compile(R"(\s)");
    const Result<Pattern> other = Pattern::compile(R"([^\s])");
    ASSERT_TRUE(blank && other);
    Pattern::Workspace workspace;
    int blanks = 0;
    for (char32_t character = 1; character < 0x110000; ++character) {
        if (character >= 0xD800 && character < 0xE000) continue;
        std::string text = "a";
        append_utf8(text, character);
        std::vector<Span> matches;
        ASSERT_TRUE(blank->find_all(text, {0, text.size()}, workspace, matches));
        ASSERT_EQ(matches.size() == 1, is_white_space(character)) << std::hex << static_cast<uint32_t>(character);
        blanks += is_white_space(character);
        matches.clear();
        ASSERT_TRUE(other->find_all(text, {1, text.size()}, workspace, matches));
        ASSERT_EQ(matches.size() == 0, is_white_space(character));
    }
    EXPECT_EQ(blanks, 25);  // PropList.txt: White_Space, total code points: 25
}

TEST(Pattern, GivesUpWithASentenceInsteadOfSearchingForever) {
    const Result<Pattern> hard = Pattern::compile("(?:a+)+b");
    ASSERT_TRUE(hard);
    Pattern::Workspace workspace;
    std::vector<Span> matches;
    const auto result = hard->find_all(std::string(40, 'a') + "cb", {0, 42}, workspace, matches);
    ASSERT_FALSE(result);
    EXPECT_EQ(
        result.error().message,
        "its expression gave up on 42 bytes of text at byte 0 (match limit exceeded); use a shorter or another text");
}

}  // namespace
}  // namespace invar
