// How many bytes a weight takes in each form that the host can hold it in.
#pragma once

#include <cstdint>
#include <vector>

#include "ops/weight.h"

namespace invar {

// Bytes a weight takes in a form: matrices and stacks in as_stored or rows4, vectors in binary32.
int64_t stored_bytes(const Format& format, StoredForm form, const std::vector<int64_t>& shape);

}  // namespace invar
