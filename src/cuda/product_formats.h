// Which formats the device has products of: those that some row of the table of products has (product_kernels.cu). A
// plan brings matrices of no other format to the device.
#pragma once

#include "formats/list.h"

namespace invar::cuda {

bool has_products(FormatId format);

}  // namespace invar::cuda
