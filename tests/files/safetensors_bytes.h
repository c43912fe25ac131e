// Shared by the tests of SafeTensors: files built by hand, valid or hostile, independently of the writer under test.
#pragma once

#include <cstring>
#include <string>
#include <string_view>

#include "files/gguf_bytes.h"
#include "files/safetensors.h"

namespace invar {

// The length, the header, then `data_bytes` bytes of data.
inline std::string safetensors_bytes(std::string_view header, size_t data_bytes) {
    const uint64_t length = header.size();
    std::string file(8, '\0');
    std::memcpy(file.data(), &length, 8);
    file += header;
    for (size_t i = 0; i < data_bytes; ++i) file += static_cast<char>(i * 7 + 1);
    return file;
}

// The sentence of the refusal; empty if the file opened.
inline std::string safetensors_refusal(std::string_view file) {
    const auto opened = SafeTensorsFile::from_bytes(std::as_bytes(std::span(file)), "x.safetensors");
    return opened ? std::string() : opened.error().message;
}

inline std::string safetensors_refusal(std::string_view header, size_t data_bytes) {
    return safetensors_refusal(safetensors_bytes(header, data_bytes));
}

}  // namespace invar
