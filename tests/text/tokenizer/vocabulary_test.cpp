// What a vocabulary may look like: each refusal with its sentence, each tolerance with its note, and which tokens end
// an answer.
#include "text/tokenizer/vocabulary.h"

#include <gtest/gtest.h>

#include <cmath>

#include "text/tokenizer/from_gguf.h"
#include "text/tokenizer/tokenizer_test_support.h"

namespace invar {
namespace {

using namespace tokenizer_test;

VocabularySource byte_level() {
    VocabularySource source = source_of(read_fixture("byte_level.json"));
    source.pre = "qwen2";
    return source;
}
VocabularySource sentence_piece() { return source_of(read_fixture("sentence_piece.json")); }

TEST(Vocabulary, RefusesUnknownModels) {
    VocabularySource source = byte_level();
    source.model = "rwkv";
    EXPECT_EQ(error_of(source),
              "fixture: tokenizer model 'rwkv' is not supported (tokenizer.ggml.model may be 'gpt2', byte-level BPE, "
              "'llama', SentencePiece, 'gemma4', 'bert', WordPiece, or 't5', Unigram)");
}

TEST(Vocabulary, RefusesByteLevelVocabulariesWithoutMerges) {
    VocabularySource source = byte_level();
    source.merges.clear();
    source.has_merges = false;
    EXPECT_EQ(
        error_of(source),
        "fixture: a vocabulary of model 'gpt2' needs its merges, and tokenizer.ggml.merges is missing: convert the "
        "model again");
}

TEST(Vocabulary, RefusesListsOfDifferentLengths) {
    VocabularySource source = byte_level();
    const size_t count = source.tokens.size();
    source.kinds.pop_back();
    EXPECT_EQ(error_of(source),
              fmt::format("fixture: {} tokens but {} token types (tokenizer.ggml.token_type)", count, count - 1));
    source = byte_level();
    source.scores = {1.0f};
    EXPECT_EQ(error_of(source), fmt::format("fixture: {} tokens but 1 scores (tokenizer.ggml.scores)", count));
    source = sentence_piece();
    source.scores.clear();
    EXPECT_EQ(error_of(source), "fixture: 900 tokens but 0 scores (tokenizer.ggml.scores)");
    source = sentence_piece();
    source.kinds.clear();
    EXPECT_EQ(error_of(source), "fixture: 900 tokens but 0 token types (tokenizer.ggml.token_type)");
    source = sentence_piece();
    source.tokens.clear();
    EXPECT_EQ(error_of(source), "fixture: the vocabulary is empty (tokenizer.ggml.tokens)");
}

TEST(Vocabulary, RefusesTokensThatMakeNoSense) {
    VocabularySource source = byte_level();
    source.tokens[7] = source.tokens[300];
    EXPECT_EQ(error_of(source), fmt::format("fixture: tokens 7 and 300 are both '{}'", source.tokens[300]));
    source = byte_level();
    source.tokens[5] = "ab\xC3";
    EXPECT_EQ(error_of(source), "fixture: token 5 is not valid UTF-8 at its byte 2");
    source = byte_level();
    source.kinds[9] = 7;
    EXPECT_EQ(error_of(source), "fixture: token 9 has type 7, which is none of 0 to 6 (tokenizer.ggml.token_type)");
    source = byte_level();
    source.tokens.back().assign(1025, 'x');
    EXPECT_EQ(error_of(source),
              fmt::format("fixture: token {} is 1025 bytes long, at most 1024 are supported for its type",
                          source.tokens.size() - 1));
    source = sentence_piece();
    source.scores[400] = std::nanf("");
    EXPECT_EQ(error_of(source), "fixture: token 400 has the score nan");
    source = sentence_piece();
    source.tokens[10] = "<0xZZ>";
    EXPECT_EQ(error_of(source), "fixture: token 10 is of type byte but reads '<0xZZ>', not like '<0x0A>'");
    source = sentence_piece();
    source.tokens[3 + 0x1A] = "<0x0a>";
    EXPECT_EQ(error_of(source), "fixture: tokens 13 and 29 both stand for byte 0x0A");
}

TEST(Vocabulary, RefusesSpecialTokensOutOfRange) {
    VocabularySource source = byte_level();
    const int32_t count = static_cast<int32_t>(source.tokens.size());
    source.eos = count;
    EXPECT_EQ(error_of(source), fmt::format("fixture: the eos token is {} but the vocabulary has {} tokens "
                                            "(tokenizer.ggml.eos_token_id)",
                                            count, count));
    source = byte_level();
    source.padding = -2;
    EXPECT_TRUE(error_of(source).starts_with("fixture: the padding token is -2 but"));
    source = byte_level();
    source.strip_after = {count + 5};
    EXPECT_TRUE(error_of(source).starts_with("fixture: token ")) << error_of(source);
    source = byte_level();
    source.bos = -1;
    source.add_bos = true;
    EXPECT_EQ(error_of(source),
              "fixture: tokenizer.ggml.add_bos_token asks for a token that tokenizer.ggml.bos_token_id does not name");
}

TEST(Vocabulary, TakesEmptyAndUnusedTokensAndMissingTypes) {
    VocabularySource source = byte_level();
    source.tokens[300] = source.tokens[301] = "";
    const Tokenizer with_empty = tokenizer_of(source);
    EXPECT_EQ(with_empty.notes()[0], "2 tokens are empty: no text becomes one of them");
    EXPECT_EQ(with_empty.piece(300), "");
    EXPECT_EQ(with_empty.decode(encode(with_empty, "the Hello"), true), "the Hello");

    source = byte_level();
    source.kinds.clear();
    const Tokenizer without_types = tokenizer_of(source);
    EXPECT_EQ(without_types.notes()[0], "the file gives no token types: all tokens are taken as normal");
    EXPECT_EQ(without_types.kind(without_types.size() - 1), TokenKind::normal);
}

TEST(Vocabulary, ReadsByteLevelTextWithTheTableOfGpt2) {
    // Published pairs of that table: space, line break, soft hyphen, delete, and bytes that stand for themselves.
    EXPECT_EQ(byte_level_byte(0x120), 0x20);
    EXPECT_EQ(byte_level_byte(0x10A), 0x0A);
    EXPECT_EQ(byte_level_byte(0x143), 0xAD);
    EXPECT_EQ(byte_level_byte(0x121), 0x7F);
    EXPECT_EQ(byte_level_byte('a'), 'a');
    EXPECT_EQ(byte_level_byte(0xE9), 0xE9);
    EXPECT_EQ(byte_level_byte(' '), std::nullopt);
    EXPECT_EQ(byte_level_byte(0xAD), std::nullopt);
    EXPECT_EQ(byte_level_byte(0x144), std::nullopt);
    std::vector<int> seen(256);
    for (char32_t character = 0; character < 0x200; ++character) {
        if (const auto byte = byte_level_byte(character)) ++seen[*byte];
    }
    EXPECT_EQ(seen, std::vector<int>(256, 1));
    EXPECT_EQ(byte_token_byte("<0xfF>"), 0xFF);
    for (const char* text : {"<0x0>", "<0x000>", "<0xG0>", "0x0A", "<0x 1>", "<0x+1>", ""}) {
        EXPECT_EQ(byte_token_byte(text), std::nullopt) << text;
    }
}

TEST(Vocabulary, KeepsNormalTokensThatAreNotByteLevelAsTheyAre) {
    VocabularySource source = byte_level();
    const auto token = static_cast<int32_t>(source.tokens.size());
    source.tokens.emplace_back("<\xEF\xBD\x9CUser\xEF\xBD\x9C>");  // full-width bars, no stand-ins of bytes
    source.kinds.push_back(1);
    EXPECT_EQ(tokenizer_of(source).piece(token), source.tokens.back());
}

TEST(Vocabulary, ListsTokensThatEndAnAnswerWithReasons) {
    VocabularySource source = byte_level();
    for (const char* text : {"<|im_end|>", "<|eot_id|>", "</s>"}) {
        source.tokens.emplace_back(text);
        source.kinds.push_back(3);
    }
    source.kinds.back() = 1;  // "</s>" as ordinary text ends nothing
    source.eos = 0;
    const Tokenizer tokenizer = tokenizer_of(source);
    std::vector<std::pair<std::string, std::string>> ends;
    for (const EndToken& end : tokenizer.end_tokens()) {
        ends.emplace_back(tokenizer.text(end.token), end.reason);
        EXPECT_TRUE(tokenizer.is_end_of_generation(end.token));
    }
    EXPECT_EQ(ends, (std::vector<std::pair<std::string, std::string>>{
                        {std::string(tokenizer.text(0)), "the file's end of sequence"},
                        {"<|endoftext|>", "its text, <|endoftext|>"},
                        {"<|im_end|>", "its text, <|im_end|>"},
                        {"<|eot_id|>", "its text, <|eot_id|>"},
                        {"<|end|>", "its text, <|end|>"}}));
    EXPECT_FALSE(tokenizer.is_end_of_generation(*tokenizer.find("</s>")));
    EXPECT_FALSE(tokenizer.is_end_of_generation(-1));

    // In the harmony format <|end|> closes a message and not the answer.
    for (const char* text : {"<|return|>", "<|call|>"}) {
        source.tokens.emplace_back(text);
        source.kinds.push_back(3);
    }
    const Tokenizer harmony = tokenizer_of(source);
    EXPECT_FALSE(harmony.is_end_of_generation(*harmony.find("<|end|>")));
    EXPECT_TRUE(harmony.is_end_of_generation(*harmony.find("<|return|>")));
    source.eot = *harmony.find("<|end|>");  // as some converters write it
    const Tokenizer named = tokenizer_of(source);
    EXPECT_FALSE(named.is_end_of_generation(*named.find("<|end|>")));
    EXPECT_EQ(named.notes().back(),
              "<|end|> is named as an end, but in this vocabulary it ends one message of an answer");
}

// The ends that these vocabularies have beside the file's own.
std::vector<std::string> ends_with(const std::vector<std::string>& specials, int32_t kind) {
    VocabularySource source = byte_level();
    for (const std::string& text : specials) {
        source.tokens.push_back(text);
        source.kinds.push_back(kind);
    }
    const Tokenizer tokenizer = tokenizer_of(std::move(source));
    std::vector<std::string> ends;
    for (const std::string& text : specials) {
        if (tokenizer.is_end_of_generation(*tokenizer.find(text))) ends.push_back(text);
    }
    return ends;
}

TEST(Vocabulary, EndsAnAnswerAtTheNextSpeakerOnlyInVocabulariesThatMeanIt) {
    using Texts = std::vector<std::string>;
    EXPECT_EQ(ends_with({"<|user|>", "<|observation|>", "<|assistant|>"}, 3), (Texts{"<|user|>", "<|observation|>"}));
    EXPECT_EQ(ends_with({"<|user|>", "<|assistant|>"}, 3), Texts{}) << "Phi-3's and Zephyr's speakers";
    EXPECT_EQ(ends_with({"<turn|>", "<|tool_response>", "<|channel>"}, 4), (Texts{"<turn|>", "<|tool_response>"}));
    EXPECT_EQ(ends_with({"<|tool_response>"}, 4), Texts{});
    EXPECT_EQ(ends_with({"<|user|>", "<|observation|>"}, 1), Texts{}) << "ordinary text";
}

TEST(Vocabulary, SuppressesWhatTheFileSaysButNoEndOfAnAnswer) {
    VocabularySource source = byte_level();
    source.suppressed = {5, source.eos, 7};
    const Tokenizer tokenizer = tokenizer_of(source);
    EXPECT_EQ(std::vector<int32_t>(tokenizer.suppressed().begin(), tokenizer.suppressed().end()),
              (std::vector<int32_t>{5, 7}));
    EXPECT_EQ(tokenizer.notes().back(), "1 tokens are to be suppressed but end an answer: they may be chosen");
    source.suppressed = {static_cast<int32_t>(source.tokens.size())};
    EXPECT_EQ(error_of(source), fmt::format("fixture: token {0} is to be suppressed, but the vocabulary has {0} tokens",
                                            source.tokens.size()));
}

VocabularySource word_pieces() {
    VocabularySource source;
    source.model = "bert";
    source.origin = "fixture";
    source.tokens = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "\xE2\x96\x81hug", "s", "\xE2\x96\x81!"};
    source.kinds = {3, 3, 3, 3, 1, 1, 1};
    return source;
}

TEST(Vocabulary, ReadsWordPiecesInGgufsSpelling) {
    using Ids = std::vector<int32_t>;
    const Tokenizer tokenizer = tokenizer_of(word_pieces());
    EXPECT_EQ(encode(tokenizer, " HUGS!  x", Specials::as_text, Tokenizer::Ends::add), (Ids{2, 4, 5, 6, 1, 3}));
    EXPECT_EQ(tokenizer.text(5), "##s") << "the spelling of the model's own file";
    EXPECT_EQ(tokenizer.decode(Ids{4, 5, 6}, true), "hugs!");
    VocabularySource cased = word_pieces();
    cased.lowercase = false;
    EXPECT_EQ(encode(tokenizer_of(std::move(cased)), "Hugs hugs"), (Ids{1, 4, 5}));
    VocabularySource nameless = word_pieces();
    nameless.tokens[2] = "<s>";
    EXPECT_EQ(error_of(nameless),
              "fixture: the file names no [CLS] token, which a WordPiece vocabulary needs: add "
              "tokenizer.ggml.cls_token_id, or convert the model again");
    nameless.classification = 99;
    EXPECT_EQ(error_of(nameless), "fixture: token 99, which is put around a text, is none of 7");
    VocabularySource odd = word_pieces();
    odd.kinds[5] = 9;
    EXPECT_EQ(error_of(odd), "fixture: token 5 has type 9, which is none of 0 to 6 (tokenizer.ggml.token_type)");
}

TEST(Vocabulary, ReadsUnigramsWithTheBestSumOfScores) {
    VocabularySource source;
    source.model = "t5";
    source.origin = "fixture";
    source.tokens = {"<pad>",
                     "</s>",
                     "<unk>",
                     "\xE2\x96\x81",
                     "ab",
                     "a",
                     "b",
                     "\xE2\x96\x81"
                     "a"};
    source.kinds = {3, 3, 2, 1, 1, 1, 1, 1};
    source.scores = {0, 0, 0, -2, -2.5f, -3, -1, -4};
    source.eos = 1;
    source.unknown = 2;
    using Ids = std::vector<int32_t>;
    const Tokenizer tokenizer = tokenizer_of(source);
    EXPECT_EQ(encode(tokenizer, "ab", Specials::as_text, Tokenizer::Ends::add), (Ids{3, 4, 1})) << "-4.5 against -5";
    EXPECT_EQ(encode(tokenizer, " a  b?", Specials::as_text), (Ids{7, 3, 6, 2}));
    EXPECT_EQ(tokenizer.decode(Ids{3, 4}, true), "ab");
    source.scores[4] = std::nanf("");
    EXPECT_EQ(error_of(source), "fixture: token 4 has the score nan");
}

TEST(Vocabulary, AnswersForIdsOutOfRange) {
    const Tokenizer tokenizer = tokenizer_of(byte_level());
    for (const int32_t token : {-1, tokenizer.size(), INT32_MIN, INT32_MAX}) {
        EXPECT_FALSE(tokenizer.has(token));
        EXPECT_EQ(tokenizer.piece(token), "");
        EXPECT_EQ(tokenizer.text(token), "");
        EXPECT_EQ(tokenizer.kind(token), TokenKind::unused);
        EXPECT_EQ(tokenizer.decode(std::vector<int32_t>{token, token}, true), "");
    }
}

// One GGUF value as its bytes in a file.
class FakeMetadata {
  public:
    template <class T>
    void put(const char* key, MetadataType type, const T& value) {
        add(key, type, std::string(reinterpret_cast<const char*>(&value), sizeof(value)));
    }
    void put(const char* key, const std::string& value) { add(key, MetadataType::string, string(value)); }
    void put(const char* key, const std::vector<std::string>& values) {
        std::string bytes = header(MetadataType::string, values.size());
        for (const std::string& value : values) bytes += string(value);
        add(key, MetadataType::array, bytes);
    }
    template <class T>
    void put(const char* key, MetadataType type, const std::vector<T>& values) {
        add(key, MetadataType::array,
            header(type, values.size()) +
                std::string(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)));
    }
    const Metadata& get() const { return metadata_; }

  private:
    template <class T>
    static std::string number(T value) {
        return {reinterpret_cast<const char*>(&value), sizeof(value)};
    }
    static std::string string(const std::string& value) { return number(uint64_t{value.size()}) + value; }
    static std::string header(MetadataType type, uint64_t count) {
        return number(static_cast<uint32_t>(type)) + number(count);
    }
    void add(const char* key, MetadataType type, const std::string& bytes) {
        kept_.push_back(std::make_unique<std::string>(bytes));
        const auto* data = reinterpret_cast<const std::byte*>(kept_.back()->data());
        ASSERT_TRUE(metadata_.add(key, MetadataValue(type, {data, kept_.back()->size()})));
    }

    std::vector<std::unique_ptr<std::string>> kept_;
    Metadata metadata_{"model.gguf"};
};

TEST(VocabularyFromGguf, ReadsEveryKey) {
    FakeMetadata file;
    file.put("general.architecture", "phi3");
    file.put("tokenizer.ggml.model", "llama");
    file.put("tokenizer.ggml.pre", "default");
    file.put("tokenizer.ggml.tokens", {"<unk>", "<s>", "<|user|>", "a"});
    file.put("tokenizer.ggml.token_type", MetadataType::i32, std::vector<int32_t>{2, 3, 3, 1});
    file.put("tokenizer.ggml.scores", MetadataType::f32, std::vector<float>{0, 0, 0, -1.5f});
    file.put("tokenizer.ggml.bos_token_id", MetadataType::u32, uint32_t{1});
    file.put("tokenizer.ggml.eos_token_id", MetadataType::u32, uint32_t{2});
    file.put("tokenizer.ggml.padding_token_id", MetadataType::u32, UINT32_MAX);  // -1 stored as unsigned: none
    file.put("tokenizer.ggml.add_bos_token", MetadataType::boolean, uint8_t{0});
    file.put("tokenizer.ggml.add_space_prefix", MetadataType::boolean, uint8_t{1});
    const Result<VocabularySource> source = vocabulary_from_gguf(file.get());
    ASSERT_TRUE(source) << source.error().message;
    EXPECT_EQ(source->origin, "model.gguf");
    EXPECT_EQ(source->model, "llama");
    EXPECT_EQ(source->pre, "default");
    EXPECT_EQ(source->tokens, (std::vector<std::string>{"<unk>", "<s>", "<|user|>", "a"}));
    EXPECT_EQ(source->kinds, (std::vector<int32_t>{2, 3, 3, 1}));
    EXPECT_EQ(source->scores, (std::vector<float>{0, 0, 0, -1.5f}));
    EXPECT_EQ(source->bos, 1);
    EXPECT_EQ(source->eos, 2);
    EXPECT_EQ(source->padding, -1);
    EXPECT_EQ(source->unknown, -1);
    EXPECT_EQ(source->add_bos, false);
    EXPECT_EQ(source->add_eos, std::nullopt);
    EXPECT_EQ(source->add_space_prefix, true);
    EXPECT_EQ(source->strip_after, std::vector<int32_t>{2});  // Phi-3: all special tokens but <s>
    const Tokenizer tokenizer = tokenizer_of(*source);
    EXPECT_FALSE(tokenizer.adds_bos());
    EXPECT_EQ(encode(tokenizer, "<|user|>  a", Specials::parse).front(), 2);
}

TEST(VocabularyFromGguf, RefusesFilesWithoutATokenizerAndKeysOfTheWrongType) {
    EXPECT_EQ(
        vocabulary_from_gguf(Metadata("model.gguf")).error().message,
        "model.gguf: the file has no tokenizer (tokenizer.ggml.model is missing): use a model file that brings one");
    FakeMetadata file;
    file.put("tokenizer.ggml.model", "gpt2");
    file.put("tokenizer.ggml.tokens", "not a list");
    const Result<VocabularySource> source = vocabulary_from_gguf(file.get());
    ASSERT_FALSE(source);
    EXPECT_TRUE(source.error().message.starts_with("model.gguf: ")) << source.error().message;
    EXPECT_NE(source.error().message.find("tokenizer.ggml.tokens"), std::string::npos) << source.error().message;
}

}  // namespace
}  // namespace invar
