// Opens one SafeTensors file and gives access to its metadata strings and the place of every tensor. It decides what a
// valid file is, as the format's reference does: every length, shape and offset is checked here once, so that later
// code need not check. It reads the header only. Other code decides what a tensor is for: checkpoint/ for model
// weights, proof/record/recording_file.h for recordings. Writing: safetensors_writer.h.
// Layout: a 64-bit little-endian length n; n bytes of JSON {"name": {"dtype", "shape", "data_offsets"}, ...,
// "__metadata__": {string: string}}; the tensors' bytes, without gaps. https://github.com/huggingface/safetensors
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/mapped_file.h"
#include "base/result.h"
#include "files/name_index.h"

namespace invar {

inline constexpr uint64_t kSafeTensorsMostHeaderBytes = 100'000'000;  // the reference's limit
inline constexpr size_t kSafeTensorsMostDimensions = 64;
inline constexpr std::string_view kSafeTensorsMetadata = "__metadata__";

enum class Dtype : uint8_t {
    f64,
    f32,
    f16,
    bf16,
    i64,
    i32,
    i16,
    i8,
    u64,
    u32,
    u16,
    u8,
    boolean,
    c64,
    f8_e4m3,
    f8_e5m2,
    f8_e8m0,
    f6_e2m3,
    f6_e3m2,
    f4,
    unknown,  // a name that is not in this table: the tensor is kept, its size follows from the offsets
};
std::string_view dtype_name(Dtype dtype);  // as in the file: "F32", "F8_E4M3"; "" for unknown
int dtype_bits(Dtype dtype);               // of one element; 0 for unknown
Dtype find_dtype(std::string_view name);   // unknown if there is no such dtype

struct SafeTensor {
    std::string name;
    Dtype dtype = Dtype::unknown;
    std::string dtype_name;      // as in the file
    std::vector<int64_t> shape;  // outermost first; empty: one element; a dimension may be 0
    // Points into the file's bytes, at any address: the format promises no alignment (use memcpy).
    const std::byte* data = nullptr;
    uint64_t bytes = 0;
    uint64_t file_offset = 0;  // from the start of the file
    int file_index = 0;        // the file of a directory (model_directory.h); 0 for a file alone

    int64_t elements() const;  // below 2^63
};

class SafeTensorsFile {
  public:
    // All errors name the file, then the tensor, and the two numbers that disagree.
    static Result<SafeTensorsFile> open(const std::filesystem::path& path);
    // A file in memory, for tests and fuzzing; `bytes` must outlive the result.
    static Result<SafeTensorsFile> from_bytes(std::span<const std::byte> bytes, std::string name);

    std::span<const SafeTensor> tensors() const { return tensors_; }  // in the order of their bytes
    std::vector<SafeTensor> take_tensors() && { return std::move(tensors_); }
    const SafeTensor* find(std::string_view tensor) const;
    // In the order of the header.
    std::span<const std::pair<std::string, std::string>> metadata() const { return metadata_; }
    std::optional<std::string_view> find_metadata(std::string_view key) const;

    const std::string& name() const { return name_; }  // as messages call it
    uint64_t file_bytes() const { return file_bytes_; }
    const MappedFile* mapping() const { return mapping_ ? &*mapping_ : nullptr; }  // for paging advice

  private:
    SafeTensorsFile(std::string name, uint64_t file_bytes) : name_(std::move(name)), file_bytes_(file_bytes) {}

    std::string name_;
    uint64_t file_bytes_;
    std::optional<MappedFile> mapping_;
    std::vector<SafeTensor> tensors_;
    NameIndex index_;
    std::vector<std::pair<std::string, std::string>> metadata_;
    NameIndex metadata_index_;
};

}  // namespace invar
