// The escapes of string literals in templates: those of Python.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace invar::jinja {

// `literal`: what is between the quotes.
Result<std::string> unescape(std::string_view literal);

}  // namespace invar::jinja
