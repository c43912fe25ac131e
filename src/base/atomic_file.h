// A file that appears whole or not at all. Bytes go to a temporary file beside the target; commit() makes them durable
// and renames the temporary over the target. Without commit(), or after an error, the temporary is removed and the
// target is unchanged. Only regular files are replaced; of a link, the file that it leads to is, and the link stays.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>

#include "base/result.h"

namespace invar {

class AtomicFile {
  public:
    // Errors name the target: its directory is missing or not writable; or the target is a directory, a device, a pipe
    // or a socket, a link that leads nowhere, or the file that standard output or standard error goes to.
    static Result<AtomicFile> create(const std::filesystem::path& target);
    // The same, without making a file: where the bytes would go. Errors about the directory are left to create().
    static Result<std::filesystem::path> place_of(const std::filesystem::path& target);

    AtomicFile(AtomicFile&& other) noexcept;
    AtomicFile& operator=(AtomicFile&& other) noexcept;
    AtomicFile(const AtomicFile&) = delete;
    AtomicFile& operator=(const AtomicFile&) = delete;
    ~AtomicFile();  // discards what was not committed

    // Appends. After an error (a full disk, for example) the temporary is already gone and every later call fails too.
    Result<void> write(std::span<const std::byte> bytes);
    // fsync, rename, fsync of the directory.
    Result<void> commit();

    uint64_t size() const { return size_; }
    const std::filesystem::path& target() const { return target_; }

  private:
    AtomicFile(std::filesystem::path target, std::filesystem::path place, std::filesystem::path temporary,
               int descriptor);
    void discard();
    tl::unexpected<Error> give_up(int error);

    std::filesystem::path target_;  // as given
    std::filesystem::path place_;   // the same, without a link
    std::filesystem::path temporary_;
    int descriptor_ = -1;  // -1: committed, discarded or moved from
    uint64_t size_ = 0;
};

}  // namespace invar
