// Reads the header of one physical GGUF file: magic, version, metadata, tensor table. Every rule about a single file is
// checked here; gguf.h handles sets of split files and owns the bytes.
// Layout: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "files/metadata.h"
#include "files/tensor_info.h"

namespace invar {

inline constexpr uint32_t kGgufMagic = 0x46554747;  // "GGUF"

struct GgufPart {
    uint32_t version;
    uint32_t alignment;
    Metadata metadata;
    std::vector<TensorInfo> tensors;  // file_index 0
};

// `bytes` is the whole file and must outlive the result; `name` is how messages call it.
Result<GgufPart> read_gguf_part(std::span<const std::byte> bytes, const std::string& name);

}  // namespace invar
