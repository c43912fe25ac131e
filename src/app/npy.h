// The header of a NumPy file (.npy, version 1.0) for a little-endian binary32 array [rows, columns]; the numbers follow
// it as they lie in memory. Source: numpy.lib.format.
#pragma once

#include <cstdint>
#include <string>

namespace invar::app {

std::string npy_header(int64_t rows, int64_t columns);

}  // namespace invar::app
