// Brings the rows of a matrix as stored in a file into the device's layout (weight_layout.h), on the host. It does not
// move anything to a device, and decides nothing about which matrices are packed.
#pragma once

#include <cstddef>
#include <cstdint>

#include "formats/format.h"

namespace invar::cuda {

// rows4_scales_agree (layout/rows4.h) must hold of the matrix.
// Packs the row groups [first_group, last_group) of [rows, columns]; `packed` is where group first_group goes. Any
// columns the format allows. Groups are independent: callers may pack ranges in parallel, or through a small buffer.
void pack_weights(const Format& format, const std::byte* as_stored, int64_t rows, int64_t columns, int64_t first_group,
                  int64_t last_group, std::byte* packed);

}  // namespace invar::cuda
