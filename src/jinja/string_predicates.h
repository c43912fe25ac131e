// str.islower() and str.isupper(), which tests of templates need too, and str.splitlines().
#pragma once

#include <string_view>
#include <vector>

namespace invar::jinja {

bool is_lower_text(std::string_view text);
bool is_upper_text(std::string_view text);
std::vector<std::string_view> lines_of(std::string_view text, bool keep_ends);

}  // namespace invar::jinja
