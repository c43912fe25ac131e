// Reads the JSON header of a SafeTensors file: names, dtypes, shapes and offsets, each of the right kind, no name
// twice. safetensors.cpp decides whether the numbers agree with each other and with the file.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace invar {

inline constexpr size_t kHeaderLengthBytes = 8;  // before the header: its length, little endian

struct SafeTensorsEntry {
    std::string name;
    std::string dtype;
    std::vector<int64_t> shape;
    std::array<uint64_t, 2> offsets{};  // first byte and the one behind the last, from the start of the data
};

struct SafeTensorsHeader {
    std::vector<SafeTensorsEntry> tensors;
    std::vector<std::pair<std::string, std::string>> metadata;
};

// `file` is how messages call the file.
Result<SafeTensorsHeader> parse_safetensors_header(std::string_view json, const std::string& file);

}  // namespace invar
