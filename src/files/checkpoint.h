// A model's files, opened: where every tensor's bytes are, and what the files say of the model. One type for every
// container, the only one that is seen above this folder: what builds it from GGUF files is checkpoint.cpp. Reads
// headers only. Which tensor is which weight is decided in models/ and checkpoint/binding.h, how the bytes of a weight
// are made from tensors in stored_weight.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/mapped_file.h"
#include "base/result.h"
#include "files/metadata.h"
#include "files/tensor_info.h"

namespace invar {

class GgufFile;

// How tensors and hyper-parameters are named.
enum class Dialect : uint8_t {
    gguf,  // "blk.0.attn_q.weight", "llama.block_count"
};

class Checkpoint {
  public:
    // A GGUF file, or the whole set if `path` is any part of a split one. All errors name the file, then the tensor or
    // key, and the numbers that disagree.
    static Result<Checkpoint> open(const std::filesystem::path& path);
    // A GGUF file in memory, for tests and fuzzing; `bytes` must outlive the result.
    static Result<Checkpoint> from_bytes(std::span<const std::byte> bytes, std::string name);

    Dialect dialect() const;
    const std::string& name() const;              // as messages call it
    std::span<const TensorInfo> tensors() const;  // in the order of the files
    const TensorInfo* find(std::string_view tensor) const;
    const Metadata& metadata() const;  // GGUF's key-value pairs

    std::span<const std::filesystem::path> paths() const;  // of the files with tensors; empty after from_bytes
    std::span<const MappedFile* const> mappings() const;   // likewise
    uint64_t file_bytes() const;                           // of all of them, headers included
    uint64_t tensor_bytes() const;

    const GgufFile& gguf() const;  // for files/ and make/

  private:
    struct State;
    explicit Checkpoint(std::shared_ptr<const State> state) : state_(std::move(state)) {}

    std::shared_ptr<const State> state_;  // tensors keep their addresses when a Checkpoint is moved
};

}  // namespace invar
