// Writes a shape for sentences about tensors: "[8, 256, 64]", outermost dimension first.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace invar {

std::string shape_text(const std::vector<int64_t>& shape);

}  // namespace invar
