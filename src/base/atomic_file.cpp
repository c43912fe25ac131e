// Bytes go to a temporary file, are made durable, and the file is renamed: see atomic_file.h. The temporary lies in the
// target's own directory, because rename() is atomic only within one file system.
#include "base/atomic_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

namespace invar {

namespace {

std::filesystem::path directory_of(const std::filesystem::path& target) {
    return target.has_parent_path() ? target.parent_path() : std::filesystem::path(".");
}

}  // namespace

Result<AtomicFile> AtomicFile::create(const std::filesystem::path& target) {
    std::error_code ignored;
    if (!target.has_filename() || std::filesystem::is_directory(target, ignored)) {
        return fail("{}: is a directory, the name of a file to write is needed", target.string());
    }
    const std::filesystem::path directory = directory_of(target);
    for (int attempt = 0; attempt < 1000; ++attempt) {
        const auto temporary =
            directory / fmt::format(".{}.{}.{}.partial", target.filename().string(), ::getpid(), attempt);
        // 0666 less the umask: the committed file gets the permissions of any other new file.
        const int descriptor = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (descriptor >= 0) return AtomicFile(target, temporary, descriptor);
        if (errno == EEXIST) continue;
        if (errno == ENOENT)
            return fail(ErrorKind::not_found, "{}: the directory {} does not exist", target.string(),
                        directory.string());
        return fail(ErrorKind::io, "{}: cannot be written in {} ({})", target.string(), directory.string(),
                    std::strerror(errno));
    }
    return fail("{}: 1000 unfinished copies lie beside it; remove the files that end in .partial", target.string());
}

AtomicFile::AtomicFile(std::filesystem::path target, std::filesystem::path temporary, int descriptor)
    : target_(std::move(target)), temporary_(std::move(temporary)), descriptor_(descriptor) {}

AtomicFile::AtomicFile(AtomicFile&& other) noexcept
    : target_(std::move(other.target_)),
      temporary_(std::move(other.temporary_)),
      descriptor_(std::exchange(other.descriptor_, -1)),
      size_(other.size_) {}

AtomicFile& AtomicFile::operator=(AtomicFile&& other) noexcept {
    if (this != &other) {
        discard();
        target_ = std::move(other.target_);
        temporary_ = std::move(other.temporary_);
        descriptor_ = std::exchange(other.descriptor_, -1);
        size_ = other.size_;
    }
    return *this;
}

AtomicFile::~AtomicFile() { discard(); }

void AtomicFile::discard() {
    if (descriptor_ < 0) return;
    ::close(std::exchange(descriptor_, -1));
    ::unlink(temporary_.c_str());
}

tl::unexpected<Error> AtomicFile::give_up(int error) {
    const uint64_t written = size_;
    discard();
    return fail(ErrorKind::io, "{}: writing stopped after {} bytes ({}); nothing was left behind", target_.string(),
                written, std::strerror(error));
}

Result<void> AtomicFile::write(std::span<const std::byte> bytes) {
    if (descriptor_ < 0) return fail("{}: is no longer being written", target_.string());
    while (!bytes.empty()) {
        // Linux writes at most 2 GiB minus one page per call; 1 GiB keeps well below that.
        const ssize_t written = ::write(descriptor_, bytes.data(), std::min<size_t>(bytes.size(), size_t{1} << 30));
        if (written < 0) {
            if (errno == EINTR) continue;
            return give_up(errno);
        }
        size_ += static_cast<uint64_t>(written);
        bytes = bytes.subspan(static_cast<size_t>(written));
    }
    return {};
}

Result<void> AtomicFile::commit() {
    if (descriptor_ < 0) return fail("{}: is no longer being written", target_.string());
    if (::fsync(descriptor_) != 0) return give_up(errno);
    if (::rename(temporary_.c_str(), target_.c_str()) != 0) return give_up(errno);
    ::close(std::exchange(descriptor_, -1));
    // This is best effort. The rename is done and visible; the fsync only makes it reach the disk sooner.
    const int directory = ::open(directory_of(target_).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory >= 0) {
        (void)::fsync(directory);
        ::close(directory);
    }
    return {};
}

}  // namespace invar
