// Dates as C's strftime writes them in the C locale, from a time that is given: no clock is read.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace invar::jinja {

std::string format_time(std::string_view format, int64_t seconds_since_1970);

}  // namespace invar::jinja
