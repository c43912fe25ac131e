// A tensor's bytes as the file has them, for loaders that take them piece by piece: read into a buffer that one thread
// keeps, or in place where the file is bytes in memory. Read and not mapped: a file that shrinks meanwhile is an error
// then, and no signal.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "files/gguf.h"

namespace invar {

class TensorSource {
  public:
    explicit TensorSource(const GgufFile& file) : file_(file) {}

    // [offset, offset + bytes) of the tensor, valid until the next call.
    Result<const std::byte*> bytes(const TensorInfo& tensor, int64_t offset, int64_t bytes) {
        if (file_.mappings().empty()) return tensor.data + offset;
        if (static_cast<int64_t>(buffer_.size()) < bytes) buffer_.resize(static_cast<size_t>(bytes));
        const MappedFile& part = file_.mappings()[static_cast<size_t>(tensor.file_index)];
        TRY(part.read(tensor.file_offset + static_cast<uint64_t>(offset),
                      std::span(buffer_).first(static_cast<size_t>(bytes))));
        return buffer_.data();
    }

  private:
    const GgufFile& file_;
    std::vector<std::byte> buffer_;
};

}  // namespace invar
