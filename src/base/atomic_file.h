// A file that appears whole or not at all. Bytes go to a temporary file beside the target; commit() makes them durable
// and renames the temporary over the target. Without commit(), or after an error, the temporary is removed and the
// target is unchanged.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>

#include "base/result.h"

namespace invar {

class AtomicFile {
  public:
    // Errors name the target: its directory is missing or not writable, or the target is a directory.
    static Result<AtomicFile> create(const std::filesystem::path& target);

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
    AtomicFile(std::filesystem::path target, std::filesystem::path temporary, int descriptor);
    void discard();
    tl::unexpected<Error> give_up(int error);

    std::filesystem::path target_;
    std::filesystem::path temporary_;
    int descriptor_ = -1;  // -1: committed, discarded or moved from
    uint64_t size_ = 0;
};

}  // namespace invar
