// A whole file mapped read-only into memory. Decides how a file becomes a span of bytes and which paging advice the
// kernel gets; it does not interpret a byte (see files/). Nothing beyond the file's size is reachable through bytes().
// Limit: if another process truncates the file while it is mapped, the system ends this one with SIGBUS.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>

#include "base/result.h"

namespace invar {

class MappedFile {
  public:
    enum class Advice {
        sequential,  // will be read once, front to back: read ahead generously
        random,      // read ahead is wasted
        will_need,   // start reading it in now
    };

    // Errors (each names the path): missing, not permitted, a directory or another thing that is not a file, empty.
    static Result<MappedFile> open(const std::filesystem::path& path);

    MappedFile(MappedFile&& other) noexcept;
    MappedFile& operator=(MappedFile&& other) noexcept;
    MappedFile(const MappedFile&) = delete;
    MappedFile& operator=(const MappedFile&) = delete;
    ~MappedFile();

    std::span<const std::byte> bytes() const { return {data_, size_}; }
    const std::filesystem::path& path() const { return path_; }

    // Advice for bytes [offset, offset + length); a range past the end is cut to the file. Only a hint: never fails.
    void advise(Advice advice, uint64_t offset, uint64_t length) const;
    void advise(Advice advice) const { advise(advice, 0, size_); }
    // Removes the pages that lie wholly in the range from this process, so that they no longer count as its memory.
    // Reading one again is allowed and fetches it from the system's file cache or from the disk.
    void drop(uint64_t offset, uint64_t length) const;
    // Copies the bytes from `offset` on without mapping a page of the file into this process, for data that is read
    // once. Any number of threads may call it. Errors: the disk fails, or the file became shorter after it was opened.
    Result<void> read(uint64_t offset, std::span<std::byte> out) const;

  private:
    MappedFile(std::filesystem::path path, const std::byte* data, size_t size, int descriptor);
    void close();

    std::filesystem::path path_;
    const std::byte* data_ = nullptr;
    size_t size_ = 0;
    int descriptor_ = -1;
};

}  // namespace invar
