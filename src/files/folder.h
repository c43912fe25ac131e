// A folder of files, on disk or in memory (for tests and fuzzing): its names and their bytes. It checks that a file is
// there, is regular, keeps within a limit, and is not a Git LFS pointer in place of the file. It interprets no content.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/mapped_file.h"
#include "base/result.h"

namespace invar {

inline constexpr size_t kFolderMostEntries = 200'000;

struct MemoryFile {
    std::string name;
    std::span<const std::byte> bytes;  // must outlive the folder
};

class Folder {
  public:
    // Errors name the path: missing, not a folder, not permitted, more than kFolderMostEntries entries.
    static Result<Folder> open(const std::filesystem::path& path);
    static Folder in_memory(std::vector<MemoryFile> files, std::string name);

    // The sorted names of the files directly in it. Links count as what they lead to; subfolders do not count.
    std::span<const std::string> names() const { return names_; }
    bool has(std::string_view name) const;             // a name may lead into a subfolder ("a/b")
    const std::string& name() const { return name_; }  // as messages call it
    std::string name_of(std::string_view file) const;  // likewise, of a file in it
    std::filesystem::path path_of(std::string_view file) const { return path_ / file; }

    // The bytes of a file, and its mapping if it is on disk. A name may lead into a subfolder ("a/b").
    struct File {
        std::optional<MappedFile> mapping;
        std::span<const std::byte> bytes;
    };
    Result<File> map(std::string_view file) const;
    // Copies a small file. Errors: as for map(), and more than `most_bytes`.
    Result<std::string> read(std::string_view file, uint64_t most_bytes) const;

  private:
    std::filesystem::path path_;
    std::string name_;
    std::vector<std::string> names_;
    bool in_memory_ = false;
    std::vector<MemoryFile> files_;  // in memory only, in the order of names_
};

}  // namespace invar
