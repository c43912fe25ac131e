// Identifies bytes in recordings, reports and caches by XXH3-128, which hashes whole checkpoints at memory speed. It
// tells files apart; it does not protect against someone who wants two files to look alike. Only hash.cpp includes
// xxhash.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>

#include "base/result.h"

namespace invar {

class Hasher {
  public:
    Hasher();
    ~Hasher();
    Hasher(const Hasher&) = delete;
    Hasher& operator=(const Hasher&) = delete;

    void add(std::span<const std::byte> bytes);
    std::string text() const;  // of everything added: "xxh3:" and 32 hexadecimal digits

  private:
    struct State;
    std::unique_ptr<State> state_;
};

std::string hash_of(std::span<const std::byte> bytes);
// XXH3 in 64 bits, for finding equal blocks among millions.
uint64_t short_hash_of(std::span<const std::byte> bytes);

struct FileHash {
    std::string text;
    int64_t bytes = 0;
};
// The hash of one file's bytes. Fails if the file cannot be read.
Result<FileHash> hash_of_file(const std::filesystem::path& path);

}  // namespace invar
