// The files of a model's directory: which is taken, what the small ones say, what is refused and how, and what damaged
// files end in. That ids are right, oracle_jobs_test.cpp says.
#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>

#include "files/gguf.h"
#include "text/tokenizer/charsmap.h"
#include "text/tokenizer/from_gguf.h"
#include "text/tokenizer/json_tree.h"
#include "text/tokenizer/oniguruma.h"
#include "text/tokenizer/pattern.h"
#include "text/tokenizer/tokenizer_files.h"
#include "text/tokenizer/tokenizer_test_support.h"

namespace invar {
namespace {

using namespace tokenizer_test;
namespace fs = std::filesystem;

constexpr std::string_view kModel = R"("model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2, "<s>": 3, "</s>": 4},
    "merges": ["a b"]})";

TokenizerFiles files_of(std::string tokenizer_json) {
    TokenizerFiles files;
    files.directory = "folder";
    files.tokenizer_json = {"tokenizer.json", std::move(tokenizer_json)};
    return files;
}

std::string error_of_json(std::string json) {
    const Result<Tokenizer> tokenizer = read_tokenizer(files_of(std::move(json)));
    return tokenizer ? "no error" : tokenizer.error().message;
}

std::string with(std::string_view members) { return fmt::format("{{{}, {}}}", kModel, members); }

Tokenizer read(const TokenizerFiles& files) {
    Result<Tokenizer> tokenizer = read_tokenizer(files);
    if (!tokenizer) throw std::runtime_error(tokenizer.error().message);
    return std::move(*tokenizer);
}

TEST(TokenizerFiles, RefusesWhatItCannotDoByItsName) {
    const std::pair<const char*, const char*> cases[] = {
        {R"("normalizer": {"type": "Tilde"})", "the normalizer has the type 'Tilde', which is not supported"},
        {R"("normalizer": {"type": "Sequence", "normalizers": [{"type": "NFX"}]})",
         "the normalizer has the type 'NFX', which is not supported"},
        {R"("pre_tokenizer": {"type": "UnicodeScripts"})",
         "the pre_tokenizer has the type 'UnicodeScripts', which is not supported"},
        {R"("pre_tokenizer": {"type": "Split", "pattern": {"Regex": "a"}, "behavior": "Torn"})",
         "the pre_tokenizer: the behavior 'Torn' is not known"},
        {R"("pre_tokenizer": {"type": "Metaspace", "replacement": "_", "prepend_scheme": "often"})",
         "the pre_tokenizer: the prepend_scheme 'often' is not known"},
        {R"("decoder": {"type": "CTC"})", "the decoder has the type 'CTC', which is not supported"},
        {R"("decoder": {"type": "Sequence", "decoders": [{"type": "Fuse"}, {"type": "ByteLevel"}]})",
         "the decoder has the type 'ByteLevel' behind a Fuse, which is not supported"},
        {R"("post_processor": {"type": "Other"})", "the post_processor has the type 'Other', which is not supported"},
    };
    for (const auto& [member, message] : cases)
        EXPECT_EQ(error_of_json(with(member)), fmt::format("tokenizer.json: {}", message));
    EXPECT_EQ(error_of_json(R"({"model": {"type": "Trie", "vocab": {}}})"),
              "tokenizer.json: the model has the type 'Trie', which is not supported (it may be BPE, Unigram, "
              "WordPiece or WordLevel)");
    EXPECT_EQ(error_of_json(R"({"model": {"type": "BPE", "vocab": {"a": 0}, "merges": [], "dropout": 0.1}})"),
              "tokenizer.json: the model has a dropout, which would make its tokens random: set it to null");
}

TEST(TokenizerFiles, RefusesWhatDoesNotFitTogether) {
    EXPECT_EQ(error_of_json(R"({"model": {"type": "BPE", "vocab": {"a": 0, "a": 1}, "merges": []}})"),
              "tokenizer.json: an object has the key 'a' twice");
    EXPECT_EQ(error_of_json(R"({"model": {"type": "BPE", "vocab": {"a": 0, "b": 0}, "merges": []}})"),
              "tokenizer.json: the model: 'a' and 'b' both have the id 0");
    EXPECT_EQ(error_of_json(R"({"model": {"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": ["a b"]}})"),
              "tokenizer.json: the model: merge 0 names 'ab', which is not in the vocabulary");
    EXPECT_EQ(error_of_json(R"({"model": {"type": "BPE", "vocab": {"a": 9000000}, "merges": []}})"),
              "tokenizer.json: the model: the id of 'a' is not a number from 0 to 65539");
    EXPECT_EQ(error_of_json(R"({"model": {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "u"}})"),
              "tokenizer.json: the model names the unknown token 'u', which is not in its vocabulary");
    EXPECT_EQ(error_of_json(with(R"("added_tokens": [{"id": 0, "content": "<x>"}])")),
              "tokenizer.json: the added token '<x>' and 'a' both have the id 0");
    EXPECT_EQ(
        error_of_json(with(
            R"("added_tokens": [{"id": 101, "content": "<x>"}, {"id": 4, "content": "<y>"}, {"id": 5, "content": "<x>"}])")),
        "tokenizer.json: two added tokens have the text '<x>', with the ids 5 and 101; remove one of them");
    EXPECT_EQ(error_of_json("{}"), "tokenizer.json: the file has no 'model', so it is no tokenizer.json");
    TokenizerFiles nothing;
    nothing.directory = "folder";
    EXPECT_TRUE(read_tokenizer(nothing).error().message.starts_with("folder: there is no tokenizer (tokenizer.json, "));
}

// The sentence is one line that names the file and its part, whatever the text holds.
TEST(TokenizerFiles, NamesTheFileAndThePartThatCannotEncodeAText) {
    const auto error_of_text = [](const std::string& members, const std::string& text) -> std::string {
        const auto tokens = read(files_of(members)).encode(text, Specials::parse, Tokenizer::Ends::none);
        return tokens ? "no error" : tokens.error().message;
    };
    EXPECT_EQ(error_of_text(with(R"("pre_tokenizer": null)"), "ab\nab"),
              "tokenizer.json: the vocabulary has no token for '\\x0a', which is at byte 2 of the text, and no unknown "
              "token");
    EXPECT_EQ(error_of_text(R"({"model": {"type": "Unigram", "vocab": [["a", 0]], "unk_id": null}})", "\n"),
              "tokenizer.json: the vocabulary has no token for '\\x0a', and no unknown token");
    const std::string hard = R"({"Regex": "(?:a+)+b"})";
    const std::string text = std::string(40, 'a') + "cb";
    const char* const gave_up =
        "its expression gave up on 42 bytes of text at byte 0 (match limit exceeded); use a shorter or another text";
    EXPECT_EQ(error_of_text(with(R"("normalizer": {"type": "Replace", "content": "", "pattern": )" + hard + "}"), text),
              fmt::format("tokenizer.json: the normalizer's Replace: {}", gave_up));
    EXPECT_EQ(error_of_text(
                  with(R"("pre_tokenizer": {"type": "Split", "behavior": "Isolated", "pattern": )" + hard + "}"), text),
              fmt::format("tokenizer.json: the pre-tokenizer: {}", gave_up));
}

TEST(TokenizerFiles, UnitesTheEndsOfAllFiles) {
    TokenizerFiles files = files_of(with(R"("added_tokens": [{"id": 5, "content": "<|end|>", "special": true}])"));
    files.tokenizer_config = {"tokenizer_config.json", R"({"eos_token": {"content": "</s>"}, "bos_token": "<s>"})"};
    files.generation_config = {"generation_config.json", R"({"eos_token_id": [4, 5]})"};
    files.config = {"config.json", R"({"text_config": {"eos_token_id": 2}, "model_type": "llama"})"};
    const Tokenizer tokenizer = read(files);
    std::vector<int32_t> ends;
    for (const EndToken& end : tokenizer.end_tokens()) ends.push_back(end.token);
    EXPECT_EQ(ends, (std::vector<int32_t>{4, 5, 2}));
    EXPECT_EQ(tokenizer.end_tokens()[1].reason, "eos_token_id of generation_config.json");
    EXPECT_EQ(tokenizer.bos(), 3);
    EXPECT_EQ(tokenizer.taken_from(), "tokenizer.json");
}

TEST(TokenizerFiles, TakesSuppressedTokensFromTheGenerationConfig) {
    TokenizerFiles files = files_of(with(R"("added_tokens": [])"));
    files.generation_config = {"generation_config.json",
                               R"({"eos_token_id": null, "suppress_tokens": [1, 4, 99], "pad_token_id": 0})"};
    files.tokenizer_config = {"tokenizer_config.json", R"({"eos_token": "</s>"})"};
    const Tokenizer tokenizer = read(files);
    EXPECT_EQ(std::vector<int32_t>(tokenizer.suppressed().begin(), tokenizer.suppressed().end()),
              std::vector<int32_t>{1})
        << "4 ends an answer, and the vocabulary has no 99";
    files.generation_config->bytes = R"({"suppress_tokens": ["a"]})";
    const Result<Tokenizer> refused = read_tokenizer(files);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().message, "generation_config.json: 'suppress_tokens' names no token");
}

TEST(TokenizerFiles, ReadsVocabTxtOnlyForClassesThatCutWordsAsBertDoes) {
    TokenizerFiles files;
    files.directory = "folder";
    files.vocab_txt = {"vocab.txt", "[PAD]\n[UNK]\n[CLS]\r\n[SEP]\nhug\n##s\n!\n"};
    files.config = {"config.json", R"({"model_type": "bert"})"};
    const std::vector<int32_t> wanted = {2, 4, 5, 6, 1, 3};
    EXPECT_EQ(encode(read(files), "HUGS! [MASK", Specials::as_text, Tokenizer::Ends::add),
              (std::vector<int32_t>{2, 4, 5, 6, 1, 1, 3}));
    EXPECT_EQ(encode(read(files), "HUGS! x", Specials::as_text, Tokenizer::Ends::add), wanted);
    files.tokenizer_config = {"tokenizer_config.json", R"({"tokenizer_class": "MPNetTokenizer"})"};
    Result<Tokenizer> refused = read_tokenizer(files);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().message,
              "vocab.txt: the file does not say how words are cut, and for the tokenizer class 'MPNetTokenizer' it is "
              "not known: use a tokenizer.json");
    files.tokenizer_config->bytes = R"({"tokenizer_class": "BertTokenizer", "cls_token": "<s>"})";
    refused = read_tokenizer(files);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().message, "vocab.txt: '<s>' is not in the vocabulary, but is put around each text");
}

TEST(TokenizerFiles, LetsTokenizerConfigDecideWhetherEndsAreAdded) {
    TokenizerFiles files =
        files_of(with(R"("post_processor": {"type": "BertProcessing", "cls": ["<s>", 3], "sep": ["</s>", 4]})"));
    EXPECT_EQ(*read(files).encode("ab", Specials::parse, Tokenizer::Ends::add), (std::vector<int32_t>{3, 2, 4}));
    files.tokenizer_config = {
        "tokenizer_config.json",
        R"({"bos_token": "<s>", "eos_token": "</s>", "add_bos_token": true, "add_eos_token": false})"};
    const Tokenizer tokenizer = read(files);
    EXPECT_EQ(*tokenizer.encode("ab", Specials::parse, Tokenizer::Ends::add), (std::vector<int32_t>{3, 2}));
    ASSERT_EQ(tokenizer.notes().size(), 1u);
    EXPECT_EQ(tokenizer.notes()[0],
              "tokenizer_config.json says add_eos_token = false, unlike the tokenizer's file: it counts");
}

TEST(TokenizerFiles, TakesTheTemplateFromTheFirstFileThatHasOne) {
    TokenizerFiles files;
    EXPECT_FALSE(*read_chat_template(files));
    files.chat_template_json = {"chat_template.json", R"({"chat_template": "third"})"};
    EXPECT_EQ((*read_chat_template(files))->text, "third");
    files.tokenizer_config = {
        "tokenizer_config.json",
        R"({"chat_template": [{"name": "tool_use", "template": "other"}, {"name": "default", "template": "second"}]})"};
    EXPECT_EQ((*read_chat_template(files))->text, "second");
    files.chat_template_jinja = {"chat_template.jinja", "first"};
    EXPECT_EQ((*read_chat_template(files))->text, "first");
    EXPECT_EQ((*read_chat_template(files))->taken_from, "chat_template.jinja");
}

// Tekken's vocabulary has 131072 tokens, and [INST] is 3.
TEST(TokenizerFiles, CorrectsTheExpressionThatMistralPublished) {
    std::string vocabulary = R"("<unk>": 0, "<s>": 1, "</s>": 2, "[INST]": 3, "[/INST]": 4)";
    for (int id = 5; id < 131072; ++id) vocabulary += fmt::format(R"(, "t{}": {})", id, id);
    const auto json = [&](std::string_view expression) {
        return fmt::format(
            R"({{"model": {{"type": "BPE", "vocab": {{{}}}, "merges": []}}, "pre_tokenizer": {{"type": "Split",
            "pattern": {{"Regex": "{}"}}, "behavior": "Isolated", "invert": false}}}})",
            vocabulary, expression);
    };
    TokenizerFiles files = files_of(json(R"(\\p{L}+)"));
    files.config = {"config.json", R"({"model_type": "mistral3"})"};
    const Tokenizer corrected = read(files);
    ASSERT_EQ(corrected.notes().size(), 1u);
    EXPECT_TRUE(corrected.notes()[0].ends_with("Tekken's own is used instead")) << corrected.notes()[0];
    files.config = {"config.json", R"({"model_type": "qwen3"})"};
    EXPECT_TRUE(read(files).notes().empty());
}

TEST(Oniguruma, WritesOutWhatPcre2ReadsDifferently) {
    const std::pair<const char*, const char*> same[] = {
        {R"(\p{N}{1,3}+)", R"((?:[\p{N}]{1,3})+)"},
        {R"([a&&[^b]])", R"((?:(?=(?:(?:[^\x{62}])))(?:[\x{61}])))"},
        {R"([a[bc]])", R"([\x{61}\x{62}\x{63}])"},
        {R"((?m:.)^$)", R"((?s:.)(?m:^)(?m:$))"},
        {R"(\u4e00\h\p{^L})", R"(\x{4E00}[0-9A-Fa-f][\P{L}])"},
        {R"(\p{Han}\p{Emoji})", R"([\p{sc:Han}][\p{Emoji}])"},
        {R"({a}{,2})", R"(\{a}{0,2})"},
    };
    for (const auto& [given, expected] : same) {
        const auto translated = pcre2_from_oniguruma(given);
        ASSERT_TRUE(translated) << given << ": " << translated.error().message;
        EXPECT_EQ(*translated, expected) << given;
    }
    for (const char* refused :
         {R"((a)\1)", R"(\K)", R"((?<name>a))", R"(\k<a>)", "[a", "(?x:a)", "*a", R"(\x{110000})", "a)"}) {
        EXPECT_FALSE(Pattern::compile(refused)) << refused;
    }
}

TEST(Charsmap, RefusesTriesThatLeadOutside) {
    EXPECT_FALSE(Charsmap::read(""));
    EXPECT_FALSE(Charsmap::read(std::string("\x10\0\0\0abcd", 8)));
    // One unit whose offset lies far outside: every lookup ends there.
    const Result<Charsmap> map =
        Charsmap::read(std::string("\x04\0\0\0\xFF\xFF\xFF\x7F"
                                   "x\0",
                                   10));
    ASSERT_TRUE(map) << map.error().message;
    EXPECT_FALSE(map->longest("abc"));
}

std::vector<fs::path> job_folders() {
    std::vector<fs::path> folders;
    for (const auto& entry : fs::directory_iterator(INVAR_TEST_DATA "/tokenizer/jobs")) folders.push_back(entry.path());
    std::sort(folders.begin(), folders.end());
    return folders;
}

// Every file of every job is cut at many places and has bytes flipped: a tokenizer or one sentence comes out.
TEST(TokenizerFiles, SurviveCutsAndFlips) {
    RandomText random(41);
    size_t damaged = 0, refused = 0;
    for (const fs::path& folder : job_folders()) {
        const Result<TokenizerFiles> whole = TokenizerFiles::in_directory(folder.string());
        ASSERT_TRUE(whole) << whole.error().message;
        for (int round = 0; round < 60; ++round) {
            TokenizerFiles files = *whole;
            for (auto* file :
                 {&files.tokenizer_json, &files.tekken_json, &files.tiktoken_model, &files.tokenizer_model}) {
                if (!*file) continue;
                std::string& bytes = (*file)->bytes;
                if (round % 2 == 0) {
                    bytes.resize(random.below(bytes.size()));
                } else {
                    bytes[random.below(bytes.size())] = static_cast<char>(random.below(256));
                }
            }
            const Result<Tokenizer> tokenizer = read_tokenizer(files);
            ++damaged;
            if (!tokenizer) {
                ++refused;
                EXPECT_FALSE(tokenizer.error().message.empty());
                EXPECT_EQ(tokenizer.error().message.find('\n'), std::string::npos);
            } else {
                const auto tokens =
                    tokenizer->encode("the caf\xC3\xA9 <s> 123\n", Specials::parse, Tokenizer::Ends::add);
                if (tokens) tokenizer->decode(*tokens, true);
            }
        }
    }
    std::printf("[tokenizer] %zu damaged files, %zu refused\n", damaged, refused);
    EXPECT_GT(refused, damaged / 3);
}

Tokenizer tokenizer_in(const fs::path& folder) {
    const fs::path vocabulary = folder / "vocab.gguf";
    Result<Tokenizer> tokenizer = [&]() -> Result<Tokenizer> {
        if (!fs::exists(vocabulary)) {
            TRY_ASSIGN(const TokenizerFiles files, TokenizerFiles::in_directory(folder.string()));
            return read_tokenizer(files);
        }
        TRY_ASSIGN(const GgufFile file, GgufFile::open(vocabulary.string()));
        return tokenizer_from_gguf(file.metadata());
    }();
    if (!tokenizer) throw std::runtime_error(tokenizer.error().message);
    return std::move(*tokenizer);
}

TEST(TokenizerFiles, TakeLongRunsWithoutSquaringTheCost) {
    double slowest = 0;
    std::string slowest_text;
    for (const fs::path& folder : job_folders()) {
        const Tokenizer tokenizer = tokenizer_in(folder);
        for (const std::string unit : {"a", " ", "7", "\n", "\xE6\x88\x91", "\xCC\x81", "ab ", "<|x|>"}) {
            std::string text;
            while (text.size() < (1u << 18)) text += unit;
            const auto start = std::chrono::steady_clock::now();
            const std::vector<int32_t> tokens = encode(tokenizer, text, Specials::parse);
            const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
            tokenizer.decode(tokens, true);
            if (seconds > slowest) {
                slowest = seconds;
                slowest_text = folder.filename().string() + " '" + unit + "'";
            }
        }
    }
    std::printf("[speed] tokenizer files: 256 KiB of one unit takes at most %.3f s (%s)\n", slowest,
                slowest_text.c_str());
    EXPECT_LT(slowest, 20.0);
}

}  // namespace
}  // namespace invar
