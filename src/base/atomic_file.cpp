// Bytes go to a temporary file, are made durable, and the file is renamed: see atomic_file.h. The temporary lies in the
// target's own directory, because rename() is atomic only within one file system.
#include "base/atomic_file.h"

#include <fcntl.h>
#include <sys/stat.h>
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

const char* kind_of(mode_t mode) { return S_ISFIFO(mode) ? "a pipe" : S_ISSOCK(mode) ? "a socket" : "a device"; }

// A file that the program prints to would have one text in place of the other: /dev/stdout can lead to one.
bool is_printed_to(const struct stat& file) {
    for (const int descriptor : {STDOUT_FILENO, STDERR_FILENO}) {
        struct stat printed {};
        if (::fstat(descriptor, &printed) == 0 && printed.st_dev == file.st_dev && printed.st_ino == file.st_ino)
            return true;
    }
    return false;
}

}  // namespace

Result<std::filesystem::path> AtomicFile::place_of(const std::filesystem::path& target) {
    struct stat there {};
    const bool exists = ::stat(target.c_str(), &there) == 0;
    if (exists && S_ISDIR(there.st_mode))
        return fail("{}: is a directory, but the name of a file to write is needed", target.string());
    if (!target.has_filename()) {
        return fail("{}: {}, but the name of a file to write is needed", target.string(),
                    target.empty() ? "the name is empty" : "ends in '/' as the name of a directory does");
    }
    if (exists && !S_ISREG(there.st_mode)) {
        return fail("{}: is not a regular file ({}); give another path", target.string(), kind_of(there.st_mode));
    }
    if (exists && is_printed_to(there)) {
        return fail("{}: is the file that the program prints to; give another path", target.string());
    }
    std::error_code error;
    if (!std::filesystem::is_symlink(std::filesystem::symlink_status(target, error))) return target;
    std::filesystem::path place = std::filesystem::canonical(target, error);
    if (error) {
        return fail("{}: is a link that leads to no file ({}); remove it or give another path", target.string(),
                    error.message());
    }
    return place;
}

Result<AtomicFile> AtomicFile::create(const std::filesystem::path& target) {
    TRY_ASSIGN(const std::filesystem::path place, place_of(target));
    const std::filesystem::path directory = directory_of(place);
    for (int attempt = 0; attempt < 1000; ++attempt) {
        const auto temporary =
            directory / fmt::format(".{}.{}.{}.partial", place.filename().string(), ::getpid(), attempt);
        // 0666 less the umask: the committed file gets the permissions of any other new file.
        const int descriptor = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (descriptor >= 0) return AtomicFile(target, place, temporary, descriptor);
        if (errno == EEXIST) continue;
        if (errno == ENOENT)
            return fail(ErrorKind::not_found, "{}: the directory {} does not exist", target.string(),
                        directory.string());
        return fail(ErrorKind::io, "{}: cannot be written in {} ({})", target.string(), directory.string(),
                    std::strerror(errno));
    }
    return fail("{}: 1000 unfinished copies lie beside it; remove the files that end in .partial", target.string());
}

AtomicFile::AtomicFile(std::filesystem::path target, std::filesystem::path place, std::filesystem::path temporary,
                       int descriptor)
    : target_(std::move(target)), place_(std::move(place)), temporary_(std::move(temporary)), descriptor_(descriptor) {}

AtomicFile::AtomicFile(AtomicFile&& other) noexcept
    : target_(std::move(other.target_)),
      place_(std::move(other.place_)),
      temporary_(std::move(other.temporary_)),
      descriptor_(std::exchange(other.descriptor_, -1)),
      size_(other.size_) {}

AtomicFile& AtomicFile::operator=(AtomicFile&& other) noexcept {
    if (this != &other) {
        discard();
        target_ = std::move(other.target_);
        place_ = std::move(other.place_);
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
    if (::rename(temporary_.c_str(), place_.c_str()) != 0) return give_up(errno);
    ::close(std::exchange(descriptor_, -1));
    // This is best effort. The rename is done and visible; the fsync only makes it reach the disk sooner.
    const int directory = ::open(directory_of(place_).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory >= 0) {
        (void)::fsync(directory);
        ::close(directory);
    }
    return {};
}

}  // namespace invar
