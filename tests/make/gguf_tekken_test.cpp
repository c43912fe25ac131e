// A Tekken vocabulary in a GGUF file gives the ids of tekken.json, which the mistral-common package's are compared with
// in tests/text/tokenizer/oracle_jobs_test.cpp.
#include "make/gguf_tekken.h"

#include <gtest/gtest.h>

#include <fstream>
#include <random>
#include <sstream>

#include "files/gguf.h"
#include "files/gguf_bytes.h"
#include "text/tokenizer/from_gguf.h"
#include "text/tokenizer/ranked_bytes.h"
#include "text/tokenizer/tokenizer.h"

namespace invar {
namespace {

std::string read(const std::filesystem::path& path) {
    std::ifstream in(path, std::ios::binary);
    std::stringstream text;
    text << in.rdbuf();
    return text.str();
}

struct Case {
    std::string tekken = read(std::filesystem::path(INVAR_TEST_DATA) / "tokenizer" / "jobs" / "tekken" / "tekken.json");
    std::string weights = std::string("\x02\0\0\0\0\0\0\0{}", 10), params = "{}";

    Result<void> write(int64_t rows, GgufWriter& writer) const {
        TRY_ASSIGN(const ModelDirectory directory,
                   ModelDirectory::from_files({{"params.json", std::as_bytes(std::span(params))},
                                               {"consolidated.safetensors", std::as_bytes(std::span(weights))},
                                               {"tekken.json", std::as_bytes(std::span(tekken))}},
                                              "m"));
        return add_tekken_vocabulary(directory, rows, writer);
    }
};

TEST(GgufTekken, GivesTheIdsOfTekkenJson) {
    const Case made;
    const auto parts = parts_from_tekken(made.tekken, "tekken.json", {});
    ASSERT_TRUE(parts) << parts.error().message;
    const Tokenizer own(std::move(*parts_from_tekken(made.tekken, "tekken.json", {})));
    GgufWriter writer;
    const auto written = made.write(own.size() + 3, writer);
    ASSERT_TRUE(written) << written.error().message;
    writer.add("general.architecture", "llama");
    const TemporaryFolder folder;
    ASSERT_TRUE(writer.begin(folder.path() / "m.gguf"));
    ASSERT_TRUE(writer.finish());
    const auto file = GgufFile::open(folder.path() / "m.gguf");
    ASSERT_TRUE(file) << file.error().message;
    const auto gguf = tokenizer_from_gguf(file->metadata());
    ASSERT_TRUE(gguf) << gguf.error().message;
    EXPECT_EQ(gguf->size(), own.size() + 3);
    EXPECT_EQ(gguf->kind(own.size()), TokenKind::unused);
    EXPECT_EQ(gguf->bos(), own.bos());
    EXPECT_EQ(gguf->eos(), own.eos());
    EXPECT_TRUE(gguf->adds_bos());
    std::vector<std::string> pieces;  // those that are whole characters
    for (int32_t token = 0; token < own.size(); ++token) {
        std::string piece = own.piece(token);
        if (own.encode(piece, Tokenizer::Specials::parse, Tokenizer::Ends::none)) pieces.push_back(std::move(piece));
    }
    EXPECT_GT(pieces.size(), 140u);
    std::mt19937 random(1);
    int64_t compared = 0;
    for (int text = 0; text < 2000; ++text) {
        std::string joined;
        for (int i = 0; i < 12; ++i) joined += pieces[random() % pieces.size()];
        const auto a = own.encode(joined, Tokenizer::Specials::parse, Tokenizer::Ends::add);
        const auto b = gguf->encode(joined, Tokenizer::Specials::parse, Tokenizer::Ends::add);
        ASSERT_TRUE(a && b) << joined;
        ASSERT_EQ(*a, *b) << joined;
        compared += std::ssize(*a);
    }
    EXPECT_GT(compared, 10000);
}

TEST(GgufTekken, RefusesWhatAGgufFileCannotSay) {
    GgufWriter writer;
    Case made;
    auto written = made.write(20, writer);
    ASSERT_FALSE(written);
    EXPECT_EQ(written.error().message, "m/tekken.json: has 284 tokens, but the embedding has 20 rows");
    made.tekken.replace(made.tekken.find("\\\\p{N}"), 6, "\\\\d");
    written = made.write(300, writer);
    ASSERT_FALSE(written);
    EXPECT_NE(written.error().message.find("has no name in GGUF"), std::string::npos) << written.error().message;
    made.tekken = R"({"config": 3})";
    written = made.write(300, writer);
    ASSERT_FALSE(written);
    EXPECT_NE(written.error().message.find("'config.pattern'"), std::string::npos);
    made.tekken = "[]";
    EXPECT_FALSE(made.write(300, writer));
}

}  // namespace
}  // namespace invar
