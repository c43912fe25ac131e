// The tokenizers of real models against ids from their reference implementations (material outside the repository, see
// tokenizer_test_support.h for ours): every id, and the text back.
#include <gtest/gtest.h>

#include <filesystem>
#include <sstream>

#include "files/checkpoint.h"
#include "text/tokenizer/from_gguf.h"
#include "text/tokenizer/tokenizer_test_support.h"

namespace invar {
namespace {

using namespace tokenizer_test;

constexpr const char* kFolder = INVAR_SHARED_DATA "/tokenizers/";

// The texts between the separators; the line break before a separator belongs to it.
std::vector<std::string> texts_of(const std::string& path) {
    constexpr std::string_view kSeparator = "\n__ggml_vocab_test__\n";
    const std::string all = read_file(path);
    std::vector<std::string> texts;
    for (size_t begin = 0; begin <= all.size();) {
        const size_t end = std::min(all.find(kSeparator, begin), all.size());
        texts.push_back(all.substr(begin, end - begin));
        begin = end + kSeparator.size();
    }
    return texts;
}

class SharedVocabularies : public testing::TestWithParam<const char*> {};

TEST_P(SharedVocabularies, GiveEveryExpectedIdAndTheTextBack) {
    const std::string path = std::string(kFolder) + "ggml-vocab-" + GetParam() + ".gguf";
    if (!std::filesystem::exists(path)) GTEST_SKIP() << path << " is not there";
    const Result<Checkpoint> file = Checkpoint::open(path);
    ASSERT_TRUE(file) << file.error().message;
    Result<VocabularySource> source = vocabulary_from_gguf(file->metadata());
    ASSERT_TRUE(source) << source.error().message;
    const Tokenizer tokenizer = tokenizer_of(std::move(*source));

    const std::vector<std::string> texts = texts_of(path + ".inp");
    std::vector<std::string> lines;
    std::istringstream out(read_file(path + ".out"));
    for (std::string line; std::getline(out, line);) lines.push_back(line);
    // The file ends with a separator, so there is an empty text behind the last one.
    ASSERT_GE(texts.size(), lines.size());
    IdComparison comparison(GetParam());
    for (size_t i = 0; i < lines.size(); ++i) {
        std::vector<int32_t> expected;
        std::istringstream numbers(lines[i]);
        for (int32_t id; numbers >> id;) expected.push_back(id);
        const std::vector<int32_t> tokens = encode(tokenizer, texts[i]);
        comparison.compare(texts[i], tokens, expected);
        EXPECT_EQ(tokenizer.decode(tokens, true), texts[i]) << "text " << i;
    }
}

INSTANTIATE_TEST_SUITE_P(Tokenizer, SharedVocabularies,
                         testing::Values("gpt-2", "starcoder", "deepseek-coder", "deepseek-llm", "llama-spm", "phi-3"));

}  // namespace
}  // namespace invar
