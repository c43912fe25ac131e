// Resolves the escapes of string literals in templates, which are those of Python.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace invar::jinja {

// `literal` is the text between the quotes.
Result<std::string> unescape(std::string_view literal);

}  // namespace invar::jinja
