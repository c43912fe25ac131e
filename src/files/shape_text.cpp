#include "files/shape_text.h"

#include <fmt/format.h>

namespace invar {

std::string shape_text(const std::vector<int64_t>& shape) { return fmt::format("[{}]", fmt::join(shape, ", ")); }

}  // namespace invar
