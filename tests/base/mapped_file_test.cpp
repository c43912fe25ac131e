// MappedFile: what it maps, what it refuses and in which words, and that it owns its mapping alone.
#include "base/mapped_file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <numeric>

namespace invar {
namespace {

class MappedFileTest : public ::testing::Test {
  protected:
    MappedFileTest() {
        std::string pattern = (std::filesystem::temp_directory_path() / "invar_mapped_XXXXXX").string();
        EXPECT_NE(::mkdtemp(pattern.data()), nullptr);
        directory_ = pattern;
    }
    ~MappedFileTest() override {
        std::error_code ignored;
        std::filesystem::remove_all(directory_, ignored);
    }
    std::filesystem::path write(const std::string& name, const std::string& text) {
        std::ofstream(directory_ / name, std::ios::binary) << text;
        return directory_ / name;
    }
    std::filesystem::path directory_;
};

TEST_F(MappedFileTest, HasExactlyTheBytesOfTheFile) {
    // Around the page size: one byte more or less must not appear or be lost.
    for (const size_t size : {size_t{1}, size_t{4095}, size_t{4096}, size_t{4097}, size_t{100000}}) {
        std::string text(size, '\0');
        for (size_t i = 0; i < size; ++i) text[i] = static_cast<char>(i * 31 + i / 256);
        const auto mapped = MappedFile::open(write("bytes", text));
        ASSERT_TRUE(mapped) << mapped.error().message;
        ASSERT_EQ(mapped->bytes().size(), size);
        EXPECT_EQ(std::memcmp(mapped->bytes().data(), text.data(), size), 0);
    }
}

TEST_F(MappedFileTest, ReadsAnyRangeAndNamesTheByteWhereAShortenedFileEnds) {
    std::string text(300000, '\0');
    for (size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>(i * 37 + i / 251);
    const std::filesystem::path path = write("read", text);
    const auto mapped = MappedFile::open(path);
    ASSERT_TRUE(mapped) << mapped.error().message;
    for (const auto& [offset, size] : {std::pair<size_t, size_t>{0, 300000}, {1, 4096}, {299999, 1}, {5000, 0}}) {
        std::vector<std::byte> out(size);
        ASSERT_TRUE(mapped->read(offset, out));
        EXPECT_TRUE(std::equal(out.begin(), out.end(), reinterpret_cast<const std::byte*>(text.data()) + offset))
            << offset;
    }
    std::filesystem::resize_file(path, 5000);
    std::vector<std::byte> out(3000);
    EXPECT_TRUE(mapped->read(2000, out));
    const auto shortened = mapped->read(4000, out);
    ASSERT_FALSE(shortened);
    EXPECT_EQ(shortened.error().message,
              path.string() + ": ends at byte 5000, but had 300000 when it was opened; it is being changed, try again");
}

TEST_F(MappedFileTest, RefusesAMissingFileByName) {
    const auto mapped = MappedFile::open(directory_ / "absent");
    ASSERT_FALSE(mapped);
    EXPECT_EQ(mapped.error().message, (directory_ / "absent").string() + ": there is no such file");
}

TEST_F(MappedFileTest, RefusesADirectoryAnEmptyFileAndAPipe) {
    EXPECT_EQ(MappedFile::open(directory_).error().message, directory_.string() + ": is a directory, a file is needed");
    const auto empty = write("empty", "");
    EXPECT_EQ(MappedFile::open(empty).error().message, empty.string() + ": is empty (0 bytes)");
    const auto pipe = directory_ / "pipe";
    ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
    EXPECT_EQ(MappedFile::open(pipe).error().message, pipe.string() + ": is not a regular file");
    const auto below_file = empty / "more";
    EXPECT_NE(MappedFile::open(below_file).error().message.find("a file where a directory is needed"),
              std::string::npos);
}

TEST_F(MappedFileTest, RefusesAFileWithoutPermission) {
    if (::geteuid() == 0) GTEST_SKIP() << "the superuser may read everything";
    const auto path = write("secret", "x");
    ASSERT_EQ(::chmod(path.c_str(), 0), 0);
    EXPECT_EQ(MappedFile::open(path).error().message, path.string() + ": no permission to read this file");
}

TEST_F(MappedFileTest, MovesItsMappingAndLeavesNothingBehind) {
    auto first = MappedFile::open(write("a", "first"));
    auto second = MappedFile::open(write("b", "second file"));
    ASSERT_TRUE(first && second);
    const std::byte* place = second->bytes().data();
    *first = std::move(*second);
    EXPECT_EQ(first->bytes().data(), place);
    EXPECT_EQ(first->bytes().size(), 11u);
    EXPECT_EQ(first->path().filename(), "b");
    EXPECT_EQ(second->bytes().size(), 0u);
}

TEST_F(MappedFileTest, TakesAdviceOfAnyRange) {
    const auto mapped = MappedFile::open(write("advice", std::string(10000, 'x')));
    ASSERT_TRUE(mapped);
    mapped->advise(MappedFile::Advice::sequential);
    mapped->advise(MappedFile::Advice::will_need, 5000, UINT64_MAX);
    mapped->advise(MappedFile::Advice::random, UINT64_MAX, 1);
    EXPECT_EQ(std::to_integer<char>(mapped->bytes()[9999]), 'x');
}

}  // namespace
}  // namespace invar
