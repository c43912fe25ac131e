// Properties of both kinds of tokenizers on random text: the text comes back, streaming equals the whole, special
// tokens are found whatever stands around them, broken input is refused at the right byte.
#include "text/tokenizer/tokenizer.h"

#include <gtest/gtest.h>

#include <chrono>

#include "text/tokenizer/pre_tokenizer.h"
#include "text/tokenizer/tokenizer_test_support.h"

namespace invar {
namespace {

using namespace tokenizer_test;
using Ends = Tokenizer::Ends;

Tokenizer byte_level(const std::string& pre) {
    VocabularySource source = source_of(read_fixture("byte_level.json"));
    source.pre = pre;
    return tokenizer_of(source);
}
Tokenizer sentence_piece() { return tokenizer_of(source_of(read_fixture("sentence_piece.json"))); }

std::vector<std::pair<std::string, Tokenizer>> every_tokenizer() {
    std::vector<std::pair<std::string, Tokenizer>> tokenizers;
    for (const PreTokenizerRow& row : pre_tokenizer_rows()) {
        tokenizers.emplace_back(row.name, byte_level(std::string(row.name)));
    }
    tokenizers.emplace_back("sentencepiece", sentence_piece());
    return tokenizers;
}

std::string expected_back(const Tokenizer& tokenizer, const std::string& text) {
    return tokenizer.model() == "llama" ? with_space_marks_as_spaces(text) : text;
}

TEST(Tokenizer, GivesRandomTextBackWholeAndStreamed) {
    size_t texts = 0, bytes = 0, tokens_seen = 0;
    for (const auto& [name, tokenizer] : every_tokenizer()) {
        RandomText random(11);
        for (int round = 0; round < 400; ++round) {
            const std::string text = random.text(80);
            const std::vector<int32_t> tokens = encode(tokenizer, text, Specials::parse);
            ASSERT_EQ(tokenizer.decode(tokens, true), expected_back(tokenizer, text)) << name;
            TokenStream stream(tokenizer, true);
            std::string streamed;
            for (const int32_t token : tokens) {
                const std::string shown = stream.feed(token);
                ASSERT_FALSE(find_invalid_utf8(shown)) << name;
                streamed += shown;
            }
            ASSERT_EQ(streamed + stream.finish(), expected_back(tokenizer, text)) << name;
            ++texts;
            bytes += text.size();
            tokens_seen += tokens.size();
        }
    }
    std::printf("[tokenizer] %zu random texts, %zu bytes, %zu tokens: all came back, whole and streamed\n", texts,
                bytes, tokens_seen);
}

TEST(Tokenizer, StreamsRandomTokensAsTheWholeWithReplacements) {
    for (const auto& [name, tokenizer] : every_tokenizer()) {
        RandomText random(13);
        for (int round = 0; round < 200; ++round) {
            std::vector<int32_t> tokens(random.below(40));
            for (int32_t& token : tokens) token = static_cast<int32_t>(random.below(tokenizer.size() + 2)) - 1;
            const bool show_control = round % 2 == 0;
            const std::string expected = streamed_at_once(tokenizer.decode(tokens, show_control));
            TokenStream stream(tokenizer, show_control);
            std::string streamed;
            for (const int32_t token : tokens) streamed += stream.feed(token);
            ASSERT_EQ(streamed + stream.finish(), expected) << name;
        }
    }
}

// The tokens of A, special, B are those of A, the special token, and those of B.
TEST(Tokenizer, CutsTextAtSpecialTokens) {
    size_t texts = 0;
    for (const auto& [name, tokenizer] : every_tokenizer()) {
        RandomText random(17);
        const std::vector<std::string> specials = tokenizer.model() == "llama"
                                                      ? std::vector<std::string>{"<s>", "</s>", "<unk>"}
                                                      : std::vector<std::string>{"<|start|>", "<|end|>", "<think>"};
        for (int round = 0; round < 200; ++round) {
            std::string text;
            std::vector<int32_t> expected;
            for (size_t parts = random.below(6); parts > 0; --parts) {
                const std::string part = random.text(12);
                const std::string& special = specials[random.below(specials.size())];
                text += part + special;
                const std::vector<int32_t> tokens = encode(tokenizer, part, Specials::parse);
                expected.insert(expected.end(), tokens.begin(), tokens.end());
                expected.push_back(*tokenizer.find(special));
            }
            ASSERT_EQ(encode(tokenizer, text, Specials::parse), expected) << name << ": " << text;
            ASSERT_EQ(tokenizer.decode(expected, true), expected_back(tokenizer, text)) << name;
            ++texts;
        }
    }
    std::printf("[tokenizer] %zu texts with special tokens inside, 0 differ from their parts\n", texts);
}

TEST(Tokenizer, PrefersTheLongestSpecialTokenAtTheFirstPlace) {
    const Tokenizer tokenizer = byte_level("qwen2");
    const auto id = [&](const char* text) { return *tokenizer.find(text); };
    EXPECT_EQ(encode(tokenizer, "<|end|>", Specials::parse), std::vector<int32_t>{id("<|end|>")});
    EXPECT_EQ(encode(tokenizer, "<|end<|end|>", Specials::parse), (std::vector<int32_t>{id("<|end"), id("<|end|>")}));
    EXPECT_EQ(encode(tokenizer, "<|tool", Specials::as_text), std::vector<int32_t>{id("<|tool")});
    EXPECT_NE(encode(tokenizer, "<|end", Specials::as_text), std::vector<int32_t>{id("<|end")});
}

// With 4000 special tokens, as some vocabularies have, a text that almost matches all the time.
TEST(Tokenizer, FindsSpecialTokensAmongThousands) {
    VocabularySource source = source_of(read_fixture("byte_level.json"));
    source.pre = "qwen2";
    for (int i = 0; i < 4000; ++i) {
        source.tokens.push_back(fmt::format("<|reserved_special_token_{}|>", i));
        source.kinds.push_back(3);
    }
    const Tokenizer tokenizer = tokenizer_of(source);
    std::string text;
    for (int i = 0; i < 20000; ++i) text += fmt::format("<|reserved_special_token_{}|", i % 5000) + (i % 3 ? ">" : "]");
    const auto start = std::chrono::steady_clock::now();
    const std::vector<int32_t> tokens = encode(tokenizer, text, Specials::parse);
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    const auto found = std::count_if(tokens.begin(), tokens.end(),
                                     [&](int32_t token) { return tokenizer.kind(token) == TokenKind::control; });
    // i % 3 != 0 and i % 5000 < 4000
    int expected = 0;
    for (int i = 0; i < 20000; ++i) expected += i % 3 != 0 && i % 5000 < 4000;
    EXPECT_EQ(found, expected);
    EXPECT_EQ(tokenizer.decode(tokens, true), text);
    std::printf("[speed] %zu bytes with %d of 4000 special tokens: %.3f s\n", text.size(), expected, seconds);
}

TEST(Tokenizer, RefusesTextThatIsNotUtf8AtTheRightByte) {
    for (const auto& [name, tokenizer] : every_tokenizer()) {
        const auto tokens = tokenizer.encode("caf\xE9 au lait", Specials::parse, Ends::none);
        ASSERT_FALSE(tokens);
        EXPECT_EQ(tokens.error().message, "the text is not valid UTF-8 at byte 3 (0xE9): convert it to UTF-8");
        EXPECT_FALSE(tokenizer.encode("abc\xF0\x9F\x99", Specials::parse, Ends::none)) << "cut at the end";
        EXPECT_FALSE(tokenizer.encode("\xED\xA0\x80", Specials::parse, Ends::none)) << "a surrogate";
    }
    const Tokenizer tokenizer = byte_level("qwen2");
    const std::string too_long((64u << 20) + 1, 'a');
    EXPECT_EQ(tokenizer.encode(too_long, Specials::parse, Ends::none).error().message,
              "the text has 67108865 bytes, at most 67108864 can be encoded at once");
}

TEST(Tokenizer, AddsEndsAsTheFamilyAndTheFileSay) {
    VocabularySource source = source_of(read_fixture("byte_level.json"));
    source.pre = "qwen2";
    const int32_t bos = source.bos;
    const int32_t eos = source.eos;
    EXPECT_TRUE(encode(tokenizer_of(source), "", Specials::parse, Ends::add).empty());  // qwen2 adds nothing of itself
    source.pre = "llama-bpe";
    EXPECT_EQ(encode(tokenizer_of(source), "", Specials::parse, Ends::add), std::vector<int32_t>{bos});
    EXPECT_EQ(encode(tokenizer_of(source), "<|start|>", Specials::parse, Ends::add), std::vector<int32_t>{bos});
    source.add_bos = false;
    source.add_eos = true;
    EXPECT_EQ(encode(tokenizer_of(source), "", Specials::parse, Ends::add), std::vector<int32_t>{eos});
    source.add_bos.reset();
    source.bos = -1;
    EXPECT_FALSE(tokenizer_of(source).adds_bos());
}

TEST(Tokenizer, ContinuesATextWithItsSpaces) {
    const Tokenizer tokenizer = sentence_piece();
    const std::vector<int32_t> tokens = encode(tokenizer, "the");
    TokenStream first(tokenizer, false);
    TokenStream more(tokenizer, false, TokenStream::Begins::continuation);
    std::string from_start, continued;
    for (const int32_t token : tokens) {
        from_start += first.feed(token);
        continued += more.feed(token);
    }
    EXPECT_EQ(from_start, "the");
    EXPECT_EQ(continued, " the");
}

TEST(Tokenizer, ListsWhatIsSupported) {
    const std::vector<std::string> lines = supported_tokenizers();
    ASSERT_EQ(lines.size(), pre_tokenizer_rows().size() + 4);
    EXPECT_EQ(lines[0], "llama: SentencePiece");
    EXPECT_EQ(lines[3], "t5: Unigram");
    EXPECT_TRUE(lines[4].starts_with("gpt2: byte-level BPE, pre-tokeniser gpt-2, "));
}

TEST(Tokenizer, TellsItsSpeed) {
    RandomText random(23);
    std::string text;
    while (text.size() < (2u << 20)) text += random.below(4) ? std::string(" the function of Hello") : random.text(10);
    for (const auto& [name, tokenizer] : every_tokenizer()) {
        const auto start = std::chrono::steady_clock::now();
        const std::vector<int32_t> tokens = encode(tokenizer, text);
        const auto between = std::chrono::steady_clock::now();
        const std::string back = tokenizer.decode(tokens, true);
        const auto end = std::chrono::steady_clock::now();
        EXPECT_EQ(back, expected_back(tokenizer, text));
        const auto speed = [&](auto duration) {
            return static_cast<double>(text.size()) / 1e6 / std::chrono::duration<double>(duration).count();
        };
        std::printf("[speed] %s: encode %.1f MB/s, decode %.0f MB/s\n", name.c_str(), speed(between - start),
                    speed(end - between));
    }
}

}  // namespace
}  // namespace invar
