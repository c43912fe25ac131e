// AtomicFile: a target appears whole or stays as it was, and no temporary survives.
#include "base/atomic_file.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <sstream>

namespace invar {
namespace {

std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }

class AtomicFileTest : public ::testing::Test {
  protected:
    AtomicFileTest() {
        std::string pattern = (std::filesystem::temp_directory_path() / "invar_atomic_XXXXXX").string();
        EXPECT_NE(::mkdtemp(pattern.data()), nullptr);
        directory_ = pattern;
    }
    ~AtomicFileTest() override {
        std::error_code ignored;
        std::filesystem::remove_all(directory_, ignored);
    }
    size_t files() const {
        return static_cast<size_t>(std::distance(std::filesystem::directory_iterator(directory_), {}));
    }
    static std::string read(const std::filesystem::path& path) {
        std::ostringstream text;
        text << std::ifstream(path, std::ios::binary).rdbuf();
        return text.str();
    }
    std::filesystem::path directory_;
};

TEST_F(AtomicFileTest, AppearsOnlyAtCommitAndThenWhole) {
    const auto target = directory_ / "model.gguf";
    auto file = AtomicFile::create(target);
    ASSERT_TRUE(file) << file.error().message;
    ASSERT_TRUE(file->write(bytes_of("one ")));
    ASSERT_TRUE(file->write(bytes_of("two")));
    EXPECT_FALSE(std::filesystem::exists(target));
    EXPECT_EQ(file->size(), 7u);
    ASSERT_TRUE(file->commit());
    EXPECT_EQ(read(target), "one two");
    EXPECT_EQ(files(), 1u);
    EXPECT_FALSE(file->write(bytes_of("more")));
    EXPECT_FALSE(file->commit());
}

TEST_F(AtomicFileTest, LeavesTheOldFileWhenNotCommitted) {
    const auto target = directory_ / "model.gguf";
    std::ofstream(target) << "old";
    {
        auto file = AtomicFile::create(target);
        ASSERT_TRUE(file && file->write(bytes_of("new, unfinished")));
        auto moved = std::move(*file);
        ASSERT_TRUE(moved.write(bytes_of(".")));
    }
    EXPECT_EQ(read(target), "old");
    EXPECT_EQ(files(), 1u);
}

TEST_F(AtomicFileTest, ReplacesAnExistingFileAtCommit) {
    const auto target = directory_ / "model.gguf";
    std::ofstream(target) << "a much longer old text";
    auto file = AtomicFile::create(target);
    ASSERT_TRUE(file && file->write(bytes_of("new")) && file->commit());
    EXPECT_EQ(read(target), "new");
}

TEST_F(AtomicFileTest, TwoWritersDoNotMeet) {
    const auto target = directory_ / "model.gguf";
    auto first = AtomicFile::create(target);
    auto second = AtomicFile::create(target);
    ASSERT_TRUE(first && second);
    ASSERT_TRUE(first->write(bytes_of("first")) && second->write(bytes_of("second")));
    ASSERT_TRUE(second->commit() && first->commit());
    EXPECT_EQ(read(target), "first");
    EXPECT_EQ(files(), 1u);
}

TEST_F(AtomicFileTest, RefusesDirectoriesAndMissingDirectories) {
    EXPECT_EQ(AtomicFile::create(directory_).error().message,
              directory_.string() + ": is a directory, the name of a file to write is needed");
    const auto lost = directory_ / "no" / "model.gguf";
    EXPECT_EQ(AtomicFile::create(lost).error().message,
              lost.string() + ": the directory " + (directory_ / "no").string() + " does not exist");
}

TEST_F(AtomicFileTest, LeavesNothingWhenTheDiskIsFull) {
    // A file size limit stands for the full disk: write() fails with EFBIG after 4096 bytes.
    rlimit before{};
    ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
    const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
    auto file = AtomicFile::create(directory_ / "model.gguf");
    ASSERT_TRUE(file);
    const rlimit small{4096, before.rlim_max};
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
    const std::string text(10000, 'x');
    const auto written = file->write(bytes_of(text));
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
    std::signal(SIGXFSZ, old_handler);
    ASSERT_FALSE(written);
    EXPECT_NE(written.error().message.find("stopped after 4096 bytes"), std::string::npos) << written.error().message;
    EXPECT_EQ(files(), 0u);
    EXPECT_FALSE(file->commit());
}

}  // namespace
}  // namespace invar
