// Vocabularies of directories as GGUF files: tokens, scores, types and special ids are those that llama.cpp's converter
// makes (tests/data/tokenizer/gguf_vocabularies, written by tools/fixtures/gguf_vocabularies.py), and a text becomes
// the same tokens from the file as from the directory. What GGUF cannot say is refused.
#include "make/gguf_vocabulary.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>

#include "base/json.h"
#include "files/gguf.h"
#include "files/gguf_writer.h"
#include "files/model_directory_files.h"
#include "text/tokenizer/from_gguf.h"
#include "text/tokenizer/tokenizer_files.h"

namespace invar {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kRows = 640;

std::string read_bytes(const fs::path& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

// The files of a fixture, and weights that nobody looks at.
TestFiles files_of(const std::string& name) {
    TestFiles files = {{"model.safetensors", safetensors_with({"a.weight"})}};
    for (const auto& entry : fs::directory_iterator(fs::path(INVAR_TEST_DATA) / "tokenizer/gguf_vocabularies" / name)) {
        if (entry.path().filename() != "expected.json") {
            files[entry.path().filename().string()] = read_bytes(entry.path());
        }
    }
    return files;
}

Json expected_of(const std::string& name) {
    const fs::path folder = fs::path(INVAR_TEST_DATA) / "tokenizer/gguf_vocabularies" / name;
    return parse_json(read_bytes(folder / "expected.json")).value_or(Json());
}

// A GGUF file with nothing but the vocabulary.
struct Written {
    std::vector<std::byte> bytes;
    std::optional<GgufFile> file;
    std::vector<std::string> notes;
};
Result<Written> written(const ModelDirectory& directory) {
    GgufWriter writer;
    writer.add("general.architecture", "llama");
    TRY_ASSIGN(std::vector<std::string> notes, add_vocabulary(directory, kRows, writer));
    Written result{writer.header(), std::nullopt, std::move(notes)};
    TRY_ASSIGN(GgufFile file, GgufFile::from_bytes(result.bytes, "vocabulary.gguf"));
    result.file.emplace(std::move(file));
    return result;
}

std::string refusal(const TestFiles& files) {
    const auto directory = open_files(files);
    if (!directory) return "the directory is refused: " + directory.error().message;
    const auto result = written(*directory);
    return result ? "" : result.error().message;
}

const char* const kFixtures[] = {"model", "model_with_added_tokens", "model_without_prefix", "json"};

TEST(GgufVocabulary, HasTheConvertersTokensTypesAndIds) {
    for (const std::string name : kFixtures) {
        const TestFiles files = files_of(name);  // the directory points into them
        const auto directory = open_files(files);
        ASSERT_TRUE(directory) << directory.error().message;
        const auto result = written(*directory);
        ASSERT_TRUE(result) << name << ": " << result.error().message;
        const Metadata& metadata = result->file->metadata();
        const Json expected = expected_of(name);
        const auto tokens = expected["tokens"].get<std::vector<std::string>>();
        const auto types = expected["types"].get<std::vector<int64_t>>();
        ASSERT_GT(tokens.size(), 600u);
        const auto texts = metadata.strings("tokenizer.ggml.tokens").value();
        const auto kinds = metadata.integers("tokenizer.ggml.token_type").value();
        ASSERT_EQ(texts.size(), static_cast<size_t>(kRows));
        ASSERT_EQ(kinds.size(), texts.size());
        for (size_t id = 0; id < texts.size(); ++id) {
            // For a tokenizer.json the converter stops behind the last token.
            EXPECT_EQ(texts[id], id < tokens.size() ? tokens[id] : fmt::format("[PAD{}]", id)) << name << " " << id;
            EXPECT_EQ(kinds[id], id < types.size() ? types[id] : 5) << name << " " << id;
        }
        if (expected.contains("scores")) {
            EXPECT_EQ(metadata.numbers("tokenizer.ggml.scores").value(), expected["scores"].get<std::vector<float>>())
                << name;
        }
        EXPECT_EQ(metadata.string("tokenizer.ggml.model").value(), "llama");
        EXPECT_EQ(metadata.string("tokenizer.ggml.pre").value(), "default");
        const std::pair<const char*, const char*> keys[] = {{"bos", "bos"}, {"eos", "eos"}, {"unk", "unknown"}};
        for (const auto& [of_converter, of_gguf] : keys) {
            if (!expected["special_ids"].contains(of_converter)) continue;
            EXPECT_EQ(metadata.signed_integer(fmt::format("tokenizer.ggml.{}_token_id", of_gguf)).value(),
                      expected["special_ids"][of_converter].get<int64_t>())
                << name << " " << of_gguf;
        }
        if (expected["add_special"].contains("bos")) {
            EXPECT_EQ(metadata.boolean("tokenizer.ggml.add_bos_token").value(),
                      expected["add_special"]["bos"].get<bool>())
                << name;
        }
    }
}

TEST(GgufVocabulary, CutsTextsAsTheDirectoryDoes) {
    const auto strings = parse_json(read_bytes(fs::path(INVAR_TEST_DATA) / "tokenizer/strings.json"));
    ASSERT_TRUE(strings);
    size_t compared = 0, ids = 0;
    for (const std::string name : kFixtures) {
        const TestFiles files = files_of(name);  // the directory points into them
        const auto directory = open_files(files);
        ASSERT_TRUE(directory);
        const auto read = TokenizerFiles::of(*directory);
        ASSERT_TRUE(read);
        const auto of_directory = read_tokenizer(*read);
        ASSERT_TRUE(of_directory) << of_directory.error().message;
        const auto result = written(*directory);
        ASSERT_TRUE(result) << result.error().message;
        const auto of_file = tokenizer_from_gguf(result->file->metadata());
        ASSERT_TRUE(of_file) << of_file.error().message;
        for (const Json& string : *strings) {
            const auto text = string.get<std::string>();
            // An added token with U+2581 stands for spaces in the converter's file, and for itself in the directory's.
            const bool has_marked_token = text.find("  x") != text.npos || text.find("\u2581\u2581x") != text.npos;
            if (name == "model_with_added_tokens" && has_marked_token) continue;
            for (const auto ends : {Tokenizer::Ends::none, Tokenizer::Ends::add}) {
                const auto wanted = of_directory->encode(text, Specials::as_text, ends);
                const auto got = of_file->encode(text, Specials::as_text, ends);
                ASSERT_TRUE(wanted && got) << name << ": " << (got ? "" : got.error().message);
                EXPECT_EQ(*got, *wanted) << name << ": '" << text << "'";
                ids += wanted->size();
                if (ends == Tokenizer::Ends::none) {
                    EXPECT_EQ(of_file->decode(*wanted, true), of_directory->decode(*wanted, true)) << name;
                }
                ++compared;
            }
        }
    }
    EXPECT_GT(compared, 1800u);
    std::printf("[equality] %zu texts, %zu ids: the GGUF file's tokens are the directory's\n", compared, ids);
}

TEST(GgufVocabulary, TakesTheModelFileBeforeAJsonOfTheSameKind) {
    TestFiles files = files_of("json");
    files["tokenizer.model"] = files_of("model")["tokenizer.model"];
    const auto directory = open_files(files);
    ASSERT_TRUE(directory);
    const auto result = written(*directory);
    ASSERT_TRUE(result) << result.error().message;
    const auto scores = result->file->metadata().numbers("tokenizer.ggml.scores").value();
    const auto expected = expected_of("model")["scores"].get<std::vector<float>>();
    EXPECT_EQ(scores, expected);
}

TEST(GgufVocabulary, TakesTheBosThatThePostProcessorAddsWhereNoOtherFileNamesIt) {
    TestFiles files = files_of("json");
    files.erase("tokenizer_config.json");
    files["config.json"] = R"({"model_type": "llama"})";
    const auto directory = open_files(files);
    ASSERT_TRUE(directory);
    const auto result = written(*directory);
    ASSERT_TRUE(result) << result.error().message;
    EXPECT_EQ(result->file->metadata().signed_integer("tokenizer.ggml.bos_token_id").value(), 1);
    EXPECT_TRUE(result->file->metadata().boolean("tokenizer.ggml.add_bos_token").value());
}

TEST(GgufVocabulary, RefusesWhatItCannotSay) {
    const auto changed = [](const std::function<void(Json&)>& change) {
        TestFiles files = files_of("json");
        Json tokenizer = *parse_json(files["tokenizer.json"]);
        change(tokenizer);
        files["tokenizer.json"] = tokenizer.dump();
        return refusal(files);
    };
    EXPECT_EQ(changed([](Json&) {}), "");
    const auto contains = [](const std::string& sentence, const char* part) {
        EXPECT_NE(sentence.find(part), std::string::npos) << "'" << sentence << "' without '" << part << "'";
    };
    contains(changed([](Json& t) { t["normalizer"]["normalizers"].push_back({{"type", "NFKC"}}); }), "'NFKC'");
    contains(changed([](Json& t) { t["pre_tokenizer"] = {{"type", "Digits"}}; }), "'Digits'");
    contains(changed([](Json& t) { t["normalizer"] = nullptr; }), "does not turn spaces into U+2581");
    contains(changed([](Json& t) { t["model"]["merges"].push_back(t["model"]["merges"][0]); }),
             "do not stand together");
    contains(changed([](Json& t) { t["model"]["merges"].erase(0); }), "no merge makes the token");
    contains(changed([](Json& t) { t["model"]["merges"][3] = "abc"; }), "merge 3 is not two texts");
    contains(changed([](Json& t) { t["model"]["vocab"]["x1"] = kRows; }), "the embedding has 640 rows");
    contains(changed([](Json& t) { t["model"]["vocab"]["x1"] = -1; }), "the id of 'x1' is not a number");
    contains(changed([](Json& t) {
                 t["model"] = {{"type", "WordLevel"}, {"vocab", {{"a", 0}}}, {"unk_token", "a"}};
                 t["added_tokens"] = Json::array();
                 t["post_processor"] = nullptr;
             }),
             "is not a tokenizer of BPE, WordPiece or Unigram");
    contains(changed([](Json& t) { t["model"].erase("merges"); }), "has no 'merges'");
    contains(changed([](Json& t) { t["added_tokens"][0].erase("id"); }), "added token 0: 'id' is not a number");
    TestFiles files = files_of("model");
    files.erase("tokenizer.model");
    contains(refusal(files), "there is no tokenizer (tokenizer.json");
    files = files_of("model_with_added_tokens");
    files["added_tokens.json"] = R"({"<far>": 641})";
    contains(refusal(files), "has the id 641, but the embedding has 640 rows");
    files = files_of("model_with_added_tokens");
    files["tokenizer_config.json"] = R"({"added_tokens_decoder": {"x": {"content": "y"}}})";
    contains(refusal(files), "the key 'x', which is no id");
    // Fields of the trainer and the normaliser are added behind: the last one counts.
    files = files_of("model");
    files["tokenizer.model"] += std::string("\x12\x02\x18\x01", 4);
    EXPECT_EQ(refusal(files), "");  // a Unigram model, which is written as "t5"
    files = files_of("model");
    files["tokenizer.model"] += std::string("\x1a\x02\x20\x01", 4);
    contains(refusal(files), "normalises texts");
}

// What the file says of a vocabulary of an encoder, and the tokens of a text from both.
struct Encoder {
    std::string model;
    std::vector<std::string> texts;
    std::vector<int32_t> kinds;
    std::vector<int32_t> ids, ids_of_directory;
};
Result<Encoder> encoder_of(const TestFiles& files, const std::string& text) {
    TRY_ASSIGN(const ModelDirectory directory, open_files(files));
    TRY_ASSIGN(const Written file, written(directory));
    TRY_ASSIGN(const VocabularySource source, vocabulary_from_gguf(file.file->metadata()));
    TRY_ASSIGN(const Tokenizer of_file, tokenizer_from_gguf(file.file->metadata()));
    TRY_ASSIGN(const TokenizerFiles of_files, TokenizerFiles::of(directory));
    TRY_ASSIGN(const Tokenizer of_directory, read_tokenizer(of_files));
    Encoder encoder{source.model, source.tokens, source.kinds};
    TRY_ASSIGN(encoder.ids, of_file.encode(text, Specials::as_text, Tokenizer::Ends::add));
    TRY_ASSIGN(encoder.ids_of_directory, of_directory.encode(text, Specials::as_text, Tokenizer::Ends::add));
    return encoder;
}

TEST(GgufVocabulary, WritesWordPieceAsBertsFilesHaveIt) {
    const Json special = {
        {"lstrip", false}, {"rstrip", false}, {"single_word", false}, {"normalized", false}, {"special", true}};
    Json added = Json::array();
    for (const char* text : {"[PAD]", "[UNK]", "[CLS]", "[SEP]"}) {
        Json token = special;
        token["id"] = added.size();
        token["content"] = text;
        added.push_back(token);
    }
    const Json tokenizer = {
        {"model",
         {{"type", "WordPiece"},
          {"unk_token", "[UNK]"},
          {"continuing_subword_prefix", "##"},
          {"max_input_chars_per_word", 100},
          {"vocab",
           {{"[PAD]", 0},
            {"[UNK]", 1},
            {"[CLS]", 2},
            {"[SEP]", 3},
            {"hello", 4},
            {"world", 5},
            {"##s", 6},
            {"!", 7}}}}},
        {"added_tokens", added},
        {"normalizer",
         {{"type", "BertNormalizer"},
          {"clean_text", true},
          {"handle_chinese_chars", true},
          {"strip_accents", nullptr},
          {"lowercase", true}}},
        {"pre_tokenizer", {{"type", "BertPreTokenizer"}}},
        {"post_processor", {{"type", "BertProcessing"}, {"sep", {"[SEP]", 3}}, {"cls", {"[CLS]", 2}}}},
        {"decoder", {{"type", "WordPiece"}, {"prefix", "##"}, {"cleanup", true}}}};
    const TestFiles files = {{"model.safetensors", safetensors_with({"a.weight"})},
                             {"config.json", R"({"model_type": "bert"})"},
                             {"tokenizer.json", tokenizer.dump()}};
    const auto encoder = encoder_of(files, "Hello worlds! unknown");
    ASSERT_TRUE(encoder) << encoder.error().message;
    EXPECT_EQ(encoder->model, "bert");
    EXPECT_EQ(encoder->texts[4], "\u2581hello");
    EXPECT_EQ(encoder->texts[6], "s");
    EXPECT_EQ(encoder->texts[2], "[CLS]");
    EXPECT_EQ(encoder->kinds[2], static_cast<int32_t>(TokenKind::control));
    EXPECT_EQ(encoder->ids, (std::vector<int32_t>{2, 4, 5, 6, 7, 1, 3}));
    EXPECT_EQ(encoder->ids, encoder->ids_of_directory);
}

TEST(GgufVocabulary, WritesUnigramAsT5sFilesHaveIt) {
    const Json special = {
        {"lstrip", false}, {"rstrip", false}, {"single_word", false}, {"normalized", false}, {"special", true}};
    Json added = Json::array();
    for (const char* text : {"<pad>", "</s>", "<unk>"}) {
        Json token = special;
        token["id"] = added.size();
        token["content"] = text;
        added.push_back(token);
    }
    Json vocabulary = Json::array({Json::array({"<pad>", 0.0}), Json::array({"</s>", 0.0}), Json::array({"<unk>", 0.0}),
                                   Json::array({"\u2581", -3.0}), Json::array({"\u2581ab", -2.0}),
                                   Json::array({"a", -4.0}), Json::array({"b", -4.5}), Json::array({"ab", -5.0})});
    const Json tokenizer = {
        {"model", {{"type", "Unigram"}, {"unk_id", 2}, {"vocab", vocabulary}}},
        {"added_tokens", added},
        {"normalizer", {{"type", "Replace"}, {"pattern", {{"Regex", " {2,}"}}}, {"content", " "}}},
        {"pre_tokenizer",
         {{"type", "Sequence"},
          {"pretokenizers",
           {{{"type", "WhitespaceSplit"}},
            {{"type", "Metaspace"}, {"replacement", "\u2581"}, {"prepend_scheme", "always"}, {"split", true}}}}}},
        {"post_processor",
         {{"type", "TemplateProcessing"},
          {"single",
           {{{"Sequence", {{"id", "A"}, {"type_id", 0}}}}, {{"SpecialToken", {{"id", "</s>"}, {"type_id", 0}}}}}},
          {"pair", Json::array()},
          {"special_tokens", {{"</s>", {{"id", "</s>"}, {"ids", {1}}, {"tokens", {"</s>"}}}}}}}},
        {"decoder", {{"type", "Metaspace"}, {"replacement", "\u2581"}, {"prepend_scheme", "always"}, {"split", true}}}};
    const TestFiles files = {{"model.safetensors", safetensors_with({"a.weight"})},
                             {"config.json", R"({"model_type": "t5"})"},
                             {"tokenizer.json", tokenizer.dump()}};
    // It cuts at every white space, which GGUF says by a table of sentencepiece alone; here there is none.
    EXPECT_NE(refusal(files).find("the text '\\x09' has the tokens [] by this file"), std::string::npos)
        << refusal(files);

    TestFiles model = files_of("model");
    model["tokenizer.model"] += std::string("\x12\x02\x18\x01", 4);  // the trainer's type: Unigram
    const auto encoder = encoder_of(model, "Hello world");
    ASSERT_TRUE(encoder) << encoder.error().message;
    EXPECT_EQ(encoder->model, "t5");
    EXPECT_EQ(encoder->kinds[0], static_cast<int32_t>(TokenKind::unknown));
    EXPECT_GT(encoder->ids.size(), 2u);
    EXPECT_EQ(encoder->ids, encoder->ids_of_directory);
}

// Byte-level BPE with three merges, tokens that end answers under names that nobody knows, and Qwen's expression.
Json byte_level_tokenizer() {
    Json vocabulary = Json::object();
    for (int byte = 0; byte < 256; ++byte) vocabulary[byte_level_text(std::string(1, static_cast<char>(byte)))] = byte;
    const char* const merges[] = {"h e", "l l", "he ll"};
    Json merge_list = Json::array();
    int id = 256;
    for (const std::string merge : merges) {
        std::string result = merge;
        vocabulary[result.erase(result.find(' '), 1)] = id++;
        merge_list.push_back(merge);
    }
    Json added = Json::array();
    for (const char* text : {"<s>", "<stop>", "<halt>", "<over>", "<quit>"}) {
        added.push_back({{"id", id++}, {"content", text}, {"special", true}});
    }
    const char* const expression =
        R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*)"
        R"(|\s*[\r\n]+|\s+(?!\S)|\s+)";
    const Json split = {
        {"type", "Split"}, {"pattern", {{"Regex", expression}}}, {"behavior", "Isolated"}, {"invert", false}};
    const Json bytes = {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}};
    return {{"model", {{"type", "BPE"}, {"vocab", vocabulary}, {"merges", merge_list}}},
            {"added_tokens", added},
            {"normalizer", nullptr},
            {"pre_tokenizer", {{"type", "Sequence"}, {"pretokenizers", {split, bytes}}}},
            {"post_processor", nullptr},
            {"decoder", {{"type", "ByteLevel"}}}};
}

TestFiles byte_level_files(const std::function<void(Json&)>& change = {}) {
    Json tokenizer = byte_level_tokenizer();
    if (change) change(tokenizer);
    return {{"model.safetensors", safetensors_with({"a.weight"})},
            {"config.json", R"({"model_type": "llama"})"},
            {"tokenizer.json", tokenizer.dump()}};
}

TEST(GgufVocabulary, RefusesStepsOfByteLevelBpeThatItCannotSay) {
    const auto with_normalizer = [](const Json& normalizer) {
        return refusal(byte_level_files([&](Json& t) { t["normalizer"] = normalizer; }));
    };
    EXPECT_EQ(refusal(byte_level_files()), "");
    EXPECT_EQ(with_normalizer({{"type", "NFC"}}), "");
    const Json refused[] = {
        {{"type", "Lowercase"}},
        {{"type", "Strip"}, {"strip_left", true}, {"strip_right", true}},
        {{"type", "Replace"}, {"pattern", {{"String", "a"}}}, {"content", "b"}},
        {{"type", "Prepend"}, {"prepend", "a"}},
        {{"type", "NFD"}},
    };
    for (const Json& normalizer : refused) {
        const std::string wanted =
            fmt::format("model/tokenizer.json: normalizer '{}' cannot be said in a GGUF file: use the directory itself",
                        normalizer["type"].get<std::string>());
        EXPECT_EQ(with_normalizer(normalizer), wanted);
        const Json both = Json::array({{{"type", "NFC"}}, normalizer});
        EXPECT_EQ(with_normalizer({{"type", "Sequence"}, {"normalizers", both}}), wanted);
    }
    const auto step = [](const char* key, const Json& value, int index) {
        return refusal(byte_level_files([&](Json& t) { t["pre_tokenizer"]["pretokenizers"][index][key] = value; }));
    };
    EXPECT_EQ(step("add_prefix_space", true, 1),
              "model/tokenizer.json: ByteLevel's add_prefix_space cannot be said in a GGUF file: use the directory "
              "itself");
    for (const char* key : {"end_of_word_suffix", "continuing_subword_prefix"}) {
        const std::string got = refusal(byte_level_files([&](Json& t) { t["model"][key] = "</w>"; }));
        EXPECT_NE(got.find("model/tokenizer.json"), std::string::npos) << got;
        EXPECT_NE(got.find("</w>"), std::string::npos) << got;
    }
    // Nothing but the comparison of texts finds this one.
    const std::string difference = step("behavior", "Removed", 0);
    EXPECT_EQ(
        difference.find("model/tokenizer.json: the text 'a' has the tokens [] by this file, but [97] by what a GGUF"),
        0u)
        << difference;
}

TEST(GgufVocabulary, RefusesWhatRunRefusesWithTheSameSentence) {
    const std::function<void(Json&)> changes[] = {
        [](Json& t) { t["model"]["vocab"]["he"] = 3; },
        [](Json& t) { t["model"]["merges"].push_back("nope never"); },
        [](Json& t) {
            t["post_processor"] = {{"type", "Bananas"}};
        },
        [](Json& t) { t["added_tokens"][0]["content"] = ""; },
        [](Json& t) { t["model"]["dropout"] = 0.5; },
    };
    size_t compared = 0;
    const auto compare = [&](const TestFiles& files, bool of_template) {
        const auto directory = open_files(files);
        ASSERT_TRUE(directory);
        const auto read = TokenizerFiles::of(*directory);
        ASSERT_TRUE(read);
        const auto tokenizer = read_tokenizer(*read);
        const auto chat_template = read_chat_template(*read);
        ASSERT_TRUE(of_template ? !chat_template : !tokenizer) << compared;
        EXPECT_EQ(refusal(files), of_template ? chat_template.error().message : tokenizer.error().message);
        ++compared;
    };
    for (const auto& change : changes) compare(byte_level_files(change), false);
    for (const char* text : {R"({"chat_template": 5})", R"({"chat_template": [{"name": "x", "template": "y"}]})"}) {
        TestFiles files = byte_level_files();
        files["tokenizer_config.json"] = text;
        compare(files, true);
    }
    EXPECT_EQ(compared, 7u);
}

TEST(GgufVocabulary, AddsBosWhereTheDirectoryDoes) {
    const Json processor = {{"type", "TemplateProcessing"},
                            {"single", Json::array({{{"SpecialToken", {{"id", "<s>"}, {"type_id", 0}}}},
                                                    {{"Sequence", {{"id", "A"}, {"type_id", 0}}}}})},
                            {"pair", Json::array({{{"Sequence", {{"id", "A"}, {"type_id", 0}}}},
                                                  {{"Sequence", {{"id", "B"}, {"type_id", 1}}}}})},
                            {"special_tokens", {{"<s>", {{"id", "<s>"}, {"ids", {259}}, {"tokens", {"<s>"}}}}}}};
    const std::string configs[] = {R"({"bos_token": "<s>"})", R"({"bos_token": "<s>", "add_bos_token": null})",
                                   R"({"bos_token": "<s>", "add_bos_token": false})",
                                   R"({"bos_token": "<s>", "add_bos_token": true})"};
    std::string added;
    for (const bool has_processor : {false, true}) {
        for (const std::string& config : configs) {
            TestFiles files = byte_level_files([&](Json& t) {
                if (has_processor) t["post_processor"] = processor;
            });
            files["tokenizer_config.json"] = config;
            const auto directory = open_files(files);
            ASSERT_TRUE(directory);
            const auto result = written(*directory);
            ASSERT_TRUE(result) << result.error().message;
            const auto of_file = tokenizer_from_gguf(result->file->metadata());
            const auto of_directory = read_tokenizer(TokenizerFiles::of(*directory).value());
            ASSERT_TRUE(of_file && of_directory);
            const auto got = of_file->encode("hell", Specials::as_text, Tokenizer::Ends::add);
            const auto wanted = of_directory->encode("hell", Specials::as_text, Tokenizer::Ends::add);
            ASSERT_TRUE(got && wanted);
            EXPECT_EQ(*got, *wanted) << config << has_processor;
            added += got->front() == 259 ? 'b' : '-';
        }
    }
    EXPECT_EQ(added, "---bbb-b");  // the flag counts before the processor
}

TEST(GgufVocabulary, EndsAnswersWhereTheDirectoryDoes) {
    struct Case {
        TestFiles files;
        std::vector<int32_t> ends;
        size_t notes;
    };
    const Case cases[] = {
        {{}, {}, 0},
        {{{"special_tokens_map.json", R"({"eos_token": {"content": "<stop>"}})"}}, {260}, 0},
        {{{"generation_config.json", R"({"eos_token_id": [261]})"}}, {261}, 0},
        {{{"config.json", R"({"model_type": "llama", "eos_token_id": [260, 261]})"}}, {260, 261}, 0},
        {{{"tokenizer_config.json", R"({"eos_token": "<stop>"})"},
          {"generation_config.json", R"({"eos_token_id": [260, 261]})"},
          {"config.json", R"({"model_type": "llama", "eos_token_id": 262})"}},
         {260, 261, 262},
         0},
        {{{"tokenizer_config.json", R"({"eos_token": "<stop>"})"},
          {"generation_config.json", R"({"eos_token_id": [261, 262, 263]})"}},
         {260, 261, 262},
         1},
    };
    for (const Case& given : cases) {
        TestFiles files = byte_level_files();
        for (const auto& [name, bytes] : given.files) files[name] = bytes;
        const auto directory = open_files(files);
        ASSERT_TRUE(directory);
        const auto result = written(*directory);
        ASSERT_TRUE(result) << result.error().message;
        const auto of_file = tokenizer_from_gguf(result->file->metadata());
        const auto of_directory = read_tokenizer(TokenizerFiles::of(*directory).value());
        ASSERT_TRUE(of_file && of_directory);
        std::vector<int32_t> ends;
        for (const EndToken& end : of_file->end_tokens()) ends.push_back(end.token);
        EXPECT_EQ(ends, given.ends);
        EXPECT_EQ(result->notes.size(), given.notes);
        EXPECT_EQ(of_directory->end_tokens().size(), given.ends.size() + given.notes);
        if (given.notes == 0) continue;
        EXPECT_EQ(result->notes[0],
                  "token 263 '<quit>' ends an answer (eos_token_id of generation_config.json), which a GGUF file has "
                  "no key left to say");
    }
}

TEST(GgufVocabulary, NotesAddedTokensThatStripWhiteSpace) {
    const auto notes = [](const char* flag) {
        const TestFiles files = byte_level_files([&](Json& t) { t["added_tokens"][1][flag] = true; });
        const auto directory = open_files(files);
        if (!directory) return std::vector<std::string>();
        const auto result = written(*directory);
        EXPECT_TRUE(result) << result.error().message;
        return result ? result->notes : std::vector<std::string>();
    };
    for (const char* flag : {"lstrip", "rstrip", "single_word"}) {
        ASSERT_EQ(notes(flag).size(), 1u) << flag;
        EXPECT_EQ(notes(flag)[0],
                  "the added token '<stop>' strips white space or stands for whole words only, which a GGUF file "
                  "cannot say");
    }
    EXPECT_EQ(notes("normalized").size(), 0u);
}

// Every file of the fixtures but config.json, cut and with a bit flipped at many places: a sentence or a file.
TEST(GgufVocabulary, EndsInASentenceOrAFileForDamagedFiles) {
    size_t tried = 0, refused = 0;
    const auto give = [&](const TestFiles& files) {
        const auto directory = open_files(files);
        if (!directory) return;
        ++tried;
        const auto result = written(*directory);
        if (result) return;
        ++refused;
        EXPECT_FALSE(result.error().message.empty());
    };
    for (const std::string name : {"model_with_added_tokens", "json"}) {
        const TestFiles whole = files_of(name);
        for (const auto& [file, bytes] : whole) {
            if (file == "config.json" || file == "model.safetensors") continue;
            const size_t step = std::max<size_t>(1, bytes.size() / 150);
            for (size_t at = 0; at < bytes.size(); at += step) {
                TestFiles damaged = whole;
                damaged[file].resize(at);
                give(damaged);
                damaged[file] = bytes;
                damaged[file][at] = static_cast<char>(damaged[file][at] ^ (1 << at % 8));
                give(damaged);
            }
        }
    }
    EXPECT_GT(tried, 1000u);
    EXPECT_GT(refused, tried / 4);
    EXPECT_LT(refused, tried);
    std::printf("[hostile] %zu damaged directories, %zu refused\n", tried, refused);
}

}  // namespace
}  // namespace invar
