// AtomicFile: a target appears whole or stays as it was, and no temporary survives.
#include "base/atomic_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
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
              directory_.string() + ": is a directory, but the name of a file to write is needed");
    const auto lost = directory_ / "no" / "model.gguf";
    EXPECT_EQ(AtomicFile::create(lost).error().message,
              lost.string() + ": the directory " + (directory_ / "no").string() + " does not exist");
}

TEST_F(AtomicFileTest, RefusesPipesSocketsAndDevicesAndLeavesThem) {
    const auto pipe = directory_ / "pipe", socket = directory_ / "socket", link = directory_ / "link";
    ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
    sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
    ASSERT_LT(socket.string().size(), sizeof(address.sun_path));
    socket.string().copy(address.sun_path, sizeof(address.sun_path) - 1);
    const int descriptor = ::socket(AF_UNIX, SOCK_STREAM, 0);
    ASSERT_EQ(::bind(descriptor, reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
    ::close(descriptor);
    std::filesystem::create_symlink("pipe", link);
    EXPECT_EQ(AtomicFile::create(pipe).error().message,
              pipe.string() + ": is not a regular file (a pipe); give another path");
    EXPECT_EQ(AtomicFile::create(link).error().message,
              link.string() + ": is not a regular file (a pipe); give another path");
    EXPECT_EQ(AtomicFile::create(socket).error().message,
              socket.string() + ": is not a regular file (a socket); give another path");
    EXPECT_TRUE(std::filesystem::is_fifo(pipe) && std::filesystem::is_socket(socket));
    EXPECT_EQ(files(), 3u);
    // place_of() makes no file, so that the system's own device is safe here whatever it gives.
    EXPECT_EQ(AtomicFile::place_of("/dev/null").error().message,
              "/dev/null: is not a regular file (a device); give another path");
}

TEST_F(AtomicFileTest, ReplacesTheFileThatALinkLeadsTo) {
    std::filesystem::create_directory(directory_ / "store");
    const auto file = directory_ / "store" / "real.gguf", link = directory_ / "model.gguf";
    std::ofstream(file) << "old";
    std::filesystem::create_symlink("store/real.gguf", directory_ / "inner");
    std::filesystem::create_symlink("inner", link);  // a link to a link
    auto written = AtomicFile::create(link);
    ASSERT_TRUE(written) << written.error().message;
    EXPECT_EQ(written->target(), link);
    auto moved = std::move(*written);
    ASSERT_TRUE(moved.write(bytes_of("new")) && moved.commit());
    EXPECT_TRUE(std::filesystem::is_symlink(link));
    EXPECT_EQ(std::filesystem::read_symlink(link), "inner");
    EXPECT_FALSE(std::filesystem::is_symlink(file));
    EXPECT_EQ(read(file), "new");
    EXPECT_EQ(files(), 3u);
}

TEST_F(AtomicFileTest, RefusesLinksThatLeadNowhere) {
    const auto dangling = directory_ / "dangling", loop = directory_ / "loop";
    std::filesystem::create_symlink("missing", dangling);
    std::filesystem::create_symlink("loop", loop);
    for (const auto& link : {dangling, loop}) {
        const auto refused = AtomicFile::create(link);
        ASSERT_FALSE(refused);
        EXPECT_NE(refused.error().message.find(link.string() + ": is a link that leads to no file ("),
                  std::string::npos)
            << refused.error().message;
        EXPECT_TRUE(std::filesystem::is_symlink(link));
    }
    EXPECT_EQ(files(), 2u);
}

TEST_F(AtomicFileTest, RefusesTheFileThatStandardOutputGoesTo) {
    const auto target = directory_ / "printed", other = directory_ / "name";
    std::ofstream(target) << "printed";
    std::filesystem::create_hard_link(target, other);
    const int kept = ::dup(STDOUT_FILENO), descriptor = ::open(target.c_str(), O_WRONLY | O_APPEND);
    ASSERT_GE(descriptor, 0);
    ::dup2(descriptor, STDOUT_FILENO);
    const auto refused = AtomicFile::create(other), through_system = AtomicFile::create("/dev/stdout");
    ::dup2(kept, STDOUT_FILENO);
    ::close(kept);
    ::close(descriptor);
    ASSERT_FALSE(refused);
    ASSERT_FALSE(through_system);
    EXPECT_EQ(refused.error().message, other.string() + ": is the file that the program prints to; give another path");
    EXPECT_EQ(through_system.error().message, "/dev/stdout: is the file that the program prints to; give another path");
    EXPECT_EQ(read(target), "printed");
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
