// Maps a file read-only: see mapped_file.h. Here and in atomic_file.cpp are the Linux system calls for model files. The
// mapping is private, so that no page of it is ever written back.
#include "base/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace invar {

namespace {

// Closes a descriptor at the end of its scope, unless it was taken.
struct Descriptor {
    int number;
    ~Descriptor() {
        if (number >= 0) ::close(number);
    }
    int take() { return std::exchange(number, -1); }
};

tl::unexpected<Error> cannot_open(const std::filesystem::path& path, int error) {
    switch (error) {
        case ENOENT:
            return fail(ErrorKind::not_found, "{}: there is no such file", path.string());
        case ENOTDIR:
            return fail(ErrorKind::not_found, "{}: a part of this path is a file where a directory is needed",
                        path.string());
        case EACCES:
        case EPERM:
            return fail(ErrorKind::io, "{}: no permission to read this file", path.string());
        default:
            return fail(ErrorKind::io, "{}: cannot be opened ({})", path.string(), std::strerror(error));
    }
}

}  // namespace

Result<MappedFile> MappedFile::open(const std::filesystem::path& path) {
    // Non-blocking, so that a named pipe is refused below instead of waited for.
    Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
    if (file.number < 0) return cannot_open(path, errno);
    struct stat status {};
    if (::fstat(file.number, &status) != 0) return cannot_open(path, errno);
    if (S_ISDIR(status.st_mode)) return fail("{}: is a directory, a file is needed", path.string());
    if (!S_ISREG(status.st_mode)) return fail("{}: is not a regular file", path.string());
    if (status.st_size == 0) return fail("{}: is empty (0 bytes)", path.string());
    const auto size = static_cast<size_t>(status.st_size);
    void* data = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.number, 0);
    if (data == MAP_FAILED) {
        return fail(ErrorKind::io, "{}: its {} bytes cannot be mapped into memory ({})", path.string(), size,
                    std::strerror(errno));
    }
    return MappedFile(path, static_cast<const std::byte*>(data), size, file.take());
}

MappedFile::MappedFile(std::filesystem::path path, const std::byte* data, size_t size, int descriptor)
    : path_(std::move(path)), data_(data), size_(size), descriptor_(descriptor) {}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : path_(std::move(other.path_)),
      data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      descriptor_(std::exchange(other.descriptor_, -1)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
    if (this != &other) {
        close();
        path_ = std::move(other.path_);
        data_ = std::exchange(other.data_, nullptr);
        size_ = std::exchange(other.size_, 0);
        descriptor_ = std::exchange(other.descriptor_, -1);
    }
    return *this;
}

MappedFile::~MappedFile() { close(); }

void MappedFile::close() {
    if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
    if (descriptor_ >= 0) ::close(descriptor_);
}

void MappedFile::advise(Advice advice, uint64_t offset, uint64_t length) const {
    if (offset >= size_ || length == 0) return;
    // madvise wants a page boundary at the start; the range only grows, and stays inside the mapping's pages.
    const auto page = static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
    const uint64_t end = offset + std::min<uint64_t>(length, size_ - offset);
    const uint64_t begin = offset / page * page;
    const int hint = advice == Advice::sequential ? MADV_SEQUENTIAL
                     : advice == Advice::random   ? MADV_RANDOM
                                                  : MADV_WILLNEED;
    (void)::madvise(const_cast<std::byte*>(data_) + begin, end - begin, hint);
}

void MappedFile::drop(uint64_t offset, uint64_t length) const {
    if (offset >= size_) return;
    const auto page = static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
    // A page that the range shares with its neighbours stays mapped. Behind the file's end there is no neighbour.
    const uint64_t stop = offset + std::min<uint64_t>(length, size_ - offset);
    const uint64_t begin = (offset + page - 1) / page * page;
    const uint64_t end = stop == size_ ? (stop + page - 1) / page * page : stop / page * page;
    // The mapping is private and never written, so MADV_DONTNEED loses nothing.
    if (begin < end) (void)::madvise(const_cast<std::byte*>(data_) + begin, end - begin, MADV_DONTNEED);
}

Result<void> MappedFile::read(uint64_t offset, std::span<std::byte> out) const {
    size_t done = 0;
    while (done < out.size()) {
        const ssize_t got =
            ::pread(descriptor_, out.data() + done, out.size() - done, static_cast<off_t>(offset + done));
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) {
            return fail("{}: byte {} cannot be read ({}); check the disk", path_.string(), offset + done,
                        std::strerror(errno));
        }
        if (got == 0) {
            return fail("{}: ends at byte {}, but had {} when it was opened; it is being changed, try again",
                        path_.string(), offset + done, size_);
        }
        done += static_cast<size_t>(got);
    }
    return {};
}

}  // namespace invar
