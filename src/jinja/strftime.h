// Formats a given time as C's strftime does in the C locale. It reads no clock.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace invar::jinja {

std::string format_time(std::string_view format, int64_t seconds_since_1970);

}  // namespace invar::jinja
