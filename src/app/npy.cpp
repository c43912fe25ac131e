#include "app/npy.h"

#include <fmt/format.h>

#include <bit>

namespace invar::app {

std::string npy_header(int64_t rows, int64_t columns) {
    static_assert(std::endian::native == std::endian::little);
    std::string dictionary =
        fmt::format("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}, {}), }}", rows, columns);
    constexpr size_t kAlignment = 64, kPrefix = 10;
    dictionary.append(kAlignment - (kPrefix + dictionary.size() + 1) % kAlignment, ' ');
    dictionary += '\n';
    const auto length = static_cast<uint16_t>(dictionary.size());
    std::string header("\x93NUMPY\x01\x00", 8);
    header += static_cast<char>(length & 0xFF);
    header += static_cast<char>(length >> 8);
    return header + dictionary;
}

}  // namespace invar::app
