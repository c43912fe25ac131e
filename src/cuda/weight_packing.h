// Packs the rows of a matrix as stored in a file into the device's layout (weight_layout.h), on the host. It moves
// nothing to a device and does not decide which matrices are packed.
#pragma once

#include <cstddef>
#include <cstdint>

#include "formats/format.h"

namespace invar::cuda {

// Packs the row groups [first_group, last_group) of [rows, columns]. `packed` is where group first_group goes.
// `columns` is any number the format allows. Groups are independent: callers may pack ranges in parallel, or through a
// small buffer. rows4_scales_agree (layout/rows4.h) must hold for the matrix.
void pack_weights(const Format& format, const std::byte* as_stored, int64_t rows, int64_t columns, int64_t first_group,
                  int64_t last_group, std::byte* packed);

}  // namespace invar::cuda
