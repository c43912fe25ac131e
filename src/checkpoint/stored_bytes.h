// Computes how many bytes a weight takes in each form in which the host can hold it.
#pragma once

#include <cstdint>
#include <vector>

#include "ops/weight.h"

namespace invar {

// Bytes of a weight in a form: matrices and stacks in as_stored or rows4, vectors in binary32.
int64_t stored_bytes(const Format& format, StoredForm form, const std::vector<int64_t>& shape);

}  // namespace invar
