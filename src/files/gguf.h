// Opens GGUF model files, versions 2 and 3, whole or split, and gives access to their metadata and the place of every
// tensor. It decides what a valid file is: every length, count, offset and type is checked once (gguf_part.cpp), so
// that later code need not check. It reads headers only and touches no byte of a tensor. models/ decides what a tensor
// is for, checkpoint/ whether the numbers make sense. Limits and refusals are listed in docs/gguf.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/mapped_file.h"
#include "base/result.h"
#include "files/metadata.h"
#include "files/name_index.h"
#include "files/tensor_info.h"

namespace invar {

struct GgufPart;

inline constexpr uint32_t kGgufDefaultAlignment = 32;
inline constexpr uint32_t kGgufMostAlignment = 1u << 20;
inline constexpr uint32_t kGgufMostDimensions = 4;
inline constexpr int kGgufMostNesting = 8;          // arrays inside arrays
inline constexpr size_t kGgufMostKeyBytes = 65535;  // the specification's limit
inline constexpr size_t kGgufMostTensorNameBytes = 1024;
inline constexpr uint64_t kGgufMostParts = 99999;  // five digits in the file name

class GgufFile {
  public:
    // Opens a file, or the whole set if `path` is any part of a split one ("...-00002-of-00003.gguf"). All errors name
    // the file, then the tensor or key, and the numbers that disagree.
    static Result<GgufFile> open(const std::filesystem::path& path);
    // Opens a file in memory, for tests and fuzzing; `bytes` must outlive the result. A part of a split set is refused.
    static Result<GgufFile> from_bytes(std::span<const std::byte> bytes, std::string name);

    const Metadata& metadata() const { return metadata_; }  // of the first part: the others only say their number
    std::span<const TensorInfo> tensors() const { return tensors_; }  // in the order of the file(s)
    const TensorInfo* find(std::string_view tensor) const;

    uint32_t version() const { return version_; }                            // 2 or 3
    uint32_t alignment() const { return alignment_; }                        // bytes
    const std::string& name() const { return metadata_.file(); }             // of the first part, as messages call it
    std::span<const std::filesystem::path> paths() const { return paths_; }  // one per part; empty after from_bytes
    std::span<const MappedFile> mappings() const { return mappings_; }       // likewise; for paging advice
    uint64_t file_bytes() const { return file_bytes_; }                      // of all parts, headers included
    uint64_t tensor_bytes() const { return tensor_bytes_; }

  private:
    GgufFile(GgufPart&& first, uint64_t file_bytes);
    Result<void> add_tensors(std::vector<TensorInfo> tensors, const std::string& part_name, int file_index);
    Result<void> open_siblings(const std::filesystem::path& first, uint64_t count);

    Metadata metadata_;
    uint32_t version_;
    uint32_t alignment_;
    uint64_t file_bytes_;
    uint64_t tensor_bytes_ = 0;
    std::vector<std::filesystem::path> paths_;
    std::vector<MappedFile> mappings_;
    std::vector<TensorInfo> tensors_;
    NameIndex index_;
};

// The parts of a name such as "model-00002-of-00003.gguf"; nothing for other names.
struct SplitName {
    std::string prefix;  // "model"
    uint64_t number;     // 2: counted from 1, as in the name (split.no in the metadata counts from 0)
    uint64_t count;      // 3
};
std::optional<SplitName> split_name(const std::string& file_name);
std::string split_file_name(const SplitName& name);

}  // namespace invar
