// GgufFile on valid files: fixtures of the Python gguf package compared by value, split sets, damaged copies of a valid
// file (cut and flipped at every byte), the time a large vocabulary takes.
#include "files/gguf.h"

#include <gtest/gtest.h>

#include <chrono>

#include "base/json.h"
#include "files/gguf_bytes.h"
#include "files/gguf_compare.h"

namespace invar {
namespace {

const std::filesystem::path kData = std::filesystem::path(INVAR_TEST_DATA) / "gguf";

TEST(Gguf, ReadsWhatTheGgufPackageWrote) {
    const auto expected = parse_json(read_text(kData / "expected.json"));
    ASSERT_TRUE(expected) << expected.error().message;
    size_t compared = 0;
    for (const auto& [name, content] : expected->items()) {
        SCOPED_TRACE(name);
        const auto file = GgufFile::open(kData / name);
        ASSERT_TRUE(file) << file.error().message;
        compared += expect_matches(*file, content);
    }
    EXPECT_EQ(expected->size(), 5u);
    fmt::print("[equality] {} files of the gguf package: {} values and tensor bytes compared\n", expected->size(),
               compared);
}

TEST(Gguf, OpensASplitSetByAnyOfItsParts) {
    for (int part = 1; part <= 3; ++part) {
        const auto file = GgufFile::open(kData / split_file_name({"split", static_cast<uint64_t>(part), 3}));
        ASSERT_TRUE(file) << file.error().message;
        EXPECT_EQ(file->paths().size(), 3u);
        EXPECT_EQ(file->tensors().size(), 5u);
        EXPECT_EQ(file->find("blk.4.weight")->file_index, 2);
        EXPECT_EQ(file->metadata().string("test.note").value(), "in the first part");
        EXPECT_EQ(file->file_bytes(), 384u + 288u + 224u);
        EXPECT_EQ(file->tensor_bytes(), 4u * 2 * (1 + 2 + 3 + 4 + 5));
    }
}

class SplitSet : public ::testing::Test {
  protected:
    SplitSet() {
        for (const uint64_t part : {1, 2, 3}) {
            std::filesystem::copy(kData / split_file_name({"split", part, 3}), path(part));
        }
    }
    std::filesystem::path path(uint64_t part) const { return folder_ / split_file_name({"m", part, 3}); }
    std::string refusal() const {
        const auto file = GgufFile::open(path(1));
        EXPECT_FALSE(file);
        return file ? "" : file.error().message;
    }
    // Replaces the value of a u16 key in a part's file.
    void set_u16(uint64_t part, std::string_view key, uint16_t value) {
        std::string text = read_text(path(part));
        const size_t place = text.find(key) + key.size() + sizeof(uint32_t);
        std::memcpy(text.data() + place, &value, sizeof(value));
        write_text(path(part), text);
    }
    TemporaryFolder folder_;
};

TEST_F(SplitSet, OpensUnderAnotherPrefix) { EXPECT_TRUE(GgufFile::open(path(2))); }

TEST_F(SplitSet, RefusesAMissingSibling) {
    std::filesystem::remove(path(2));
    EXPECT_EQ(refusal(),
              path(1).string() + ": part 2 of 3 cannot be opened (" + path(2).string() + ": there is no such file)");
}

TEST_F(SplitSet, RefusesPartsThatWereSwapped) {
    std::filesystem::rename(path(2), folder_ / "x");
    std::filesystem::rename(path(3), path(2));
    std::filesystem::rename(folder_ / "x", path(3));
    EXPECT_EQ(refusal(), path(2).string() +
                             ": metadata key 'split.no' is 2, but its name makes it part 2 of 3, which must "
                             "have 1");
}

TEST_F(SplitSet, RefusesPartsThatDisagreeAboutTheirNumber) {
    set_u16(2, "split.count", 4);
    EXPECT_EQ(refusal(), path(2).string() + ": says that the model has 4 parts, but its first part says 3");
}

TEST_F(SplitSet, RefusesAWrongTensorTotal) {
    std::string text = read_text(path(1));
    const std::string_view key = "split.tensors.count";
    text[text.find(key) + key.size() + sizeof(uint32_t)] = 6;
    write_text(path(1), text);
    EXPECT_EQ(refusal(),
              path(1).string() + ": metadata key 'split.tensors.count' is 6, but the 3 parts have 5 tensors");
}

TEST_F(SplitSet, RefusesATensorThatTwoPartsHave) {
    std::string text = read_text(path(3));
    text[text.find("blk.4.weight") + 4] = '0';
    write_text(path(3), text);
    EXPECT_EQ(refusal(), path(3).string() + ": tensor 'blk.0.weight' appears in part 1 and again in part 3");
}

TEST_F(SplitSet, RefusesAPartThatLostItsName) {
    std::filesystem::rename(path(1), folder_ / "model.gguf");
    const auto file = GgufFile::open(folder_ / "model.gguf");
    ASSERT_FALSE(file);
    EXPECT_NE(file.error().message.find("its name must end in -00001-of-00003.gguf"), std::string::npos);
}

TEST(Gguf, TakesSplitNamesApart) {
    const auto name = split_name("qwen-3-00002-of-00013.gguf");
    ASSERT_TRUE(name);
    EXPECT_EQ(name->prefix, "qwen-3");
    EXPECT_EQ(name->number, 2u);
    EXPECT_EQ(name->count, 13u);
    EXPECT_EQ(split_file_name(*name), "qwen-3-00002-of-00013.gguf");
    for (const char* other :
         {"model.gguf", "-00001-of-00002.gguf", "m-0001-of-00002.gguf", "m-00003-of-00002.gguf",
          "m-00000-of-00002.gguf", "m-0000a-of-00002.gguf", "m-00001-of-00002.bin", "m_00001-of-00002.gguf"}) {
        EXPECT_FALSE(split_name(other)) << other;
    }
}

// Opens damaged bytes from a heap block of exactly their size, so that the address sanitizer sees a read past the end,
// and touches all that was accepted. Returns true if the file opened.
bool survives(std::span<const std::byte> damaged) {
    const std::vector<std::byte> exact(damaged.begin(), damaged.end());
    const auto file = GgufFile::from_bytes(exact, "model.gguf");
    if (!file) {
        expect_one_sentence(file.error().message);
        return false;
    }
    unsigned sum = 0;
    for (const TensorInfo& tensor : file->tensors()) {
        for (uint64_t i = 0; i < tensor.bytes; ++i) sum += std::to_integer<unsigned>(tensor.data[i]);
    }
    EXPECT_GE(inspect(*file).dump().size() + sum, 1u);
    return true;
}

TEST(Gguf, SurvivesAFileCutAtEveryByte) {
    const std::string whole = read_text(kData / "every_type.gguf");
    const auto file = GgufFile::open(kData / "every_type.gguf");
    ASSERT_TRUE(file);
    // The last tensor's end: the padding behind it may be missing.
    const TensorInfo& last = file->tensors().back();
    const size_t needed = last.file_offset + last.bytes;
    size_t opened = 0;
    for (size_t size = 0; size < whole.size(); ++size) {
        const bool open = survives(std::as_bytes(std::span(whole)).first(size));
        EXPECT_EQ(open, size >= needed) << "cut to " << size << " bytes";
        opened += open;
    }
    fmt::print("[damage] {} cuts, {} refused, {} opened (only padding missing)\n", whole.size(), whole.size() - opened,
               opened);
}

TEST(Gguf, SurvivesEveryFlippedByte) {
    std::string whole = read_text(kData / "every_type.gguf");
    size_t flips = 0;
    size_t opened = 0;
    for (const int mask : {0x01, 0x80, 0xFF, 0x20}) {
        for (char& byte : whole) {
            byte = static_cast<char>(byte ^ mask);
            opened += survives(std::as_bytes(std::span(whole)));
            byte = static_cast<char>(byte ^ mask);
            ++flips;
        }
    }
    EXPECT_GT(opened, 0u);  // a flip inside a tensor or a text is not ours to notice
    EXPECT_LT(opened, flips * 9 / 10);
    fmt::print("[damage] {} flips, {} refused, {} opened\n", flips, flips - opened, opened);
}

TEST(Gguf, ReadsTheHeaderOfALargeVocabularyInMilliseconds) {
    constexpr uint64_t kTokens = 150000;
    GgufBytes bytes;
    bytes.start(0, 3).key("tokenizer.ggml.tokens", MetadataType::array).array(MetadataType::string, kTokens);
    for (uint64_t i = 0; i < kTokens; ++i) bytes.text(fmt::format("token{}", i));
    bytes.key("tokenizer.ggml.merges", MetadataType::array).array(MetadataType::string, kTokens);
    for (uint64_t i = 0; i < kTokens; ++i) bytes.text(fmt::format("tok en{}", i));
    bytes.key("tokenizer.ggml.token_type", MetadataType::array).array(MetadataType::i32, kTokens);
    for (uint64_t i = 0; i < kTokens; ++i) bytes.put<int32_t>(1);
    double best = 1e9;
    for (int round = 0; round < 5; ++round) {
        const auto begin = std::chrono::steady_clock::now();
        const auto file = bytes.open();
        best =
            std::min(best, std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count());
        ASSERT_TRUE(file) << file.error().message;
        const auto tokens = file->metadata().strings("tokenizer.ggml.tokens");
        ASSERT_TRUE(tokens);
        EXPECT_EQ(tokens->size(), kTokens);
        EXPECT_EQ(tokens->back(), "token149999");
    }
    fmt::print("[time] 150000 tokens and merges: {:.2f} ms\n", best);
    EXPECT_LT(best, 250.0);  // 1 to 3 ms in a release build; the bound leaves room for sanitizers and busy machines
}

TEST(Gguf, OpensEveryVocabularyOfTheSharedData) {
    const std::filesystem::path folder = std::filesystem::path(INVAR_SHARED_DATA) / "tokenizers";
    if (!std::filesystem::exists(folder)) GTEST_SKIP() << folder << " is not there";
    size_t files = 0;
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
        if (entry.path().extension() != ".gguf") continue;
        const auto file = GgufFile::open(entry.path());
        ASSERT_TRUE(file) << file.error().message;
        const auto tokens = file->metadata().strings("tokenizer.ggml.tokens");
        ASSERT_TRUE(tokens) << tokens.error().message;
        const auto types = file->metadata().integers("tokenizer.ggml.token_type");
        ASSERT_TRUE(types) << types.error().message;
        EXPECT_EQ(tokens->size(), types->size()) << entry.path();
        ++files;
    }
    EXPECT_GE(files, 6u);
}

}  // namespace
}  // namespace invar
