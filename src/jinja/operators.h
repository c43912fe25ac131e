// The operators of expressions on any two values: arithmetic, joining and repeating text and lists, % formatting.
#pragma once

#include "jinja/tree.h"
#include "jinja/value.h"

namespace invar::jinja {

// `operation`: one of the seven arithmetic operations.
Result<Value> operate(Runtime& runtime, Operation operation, const Value& left, const Value& right);

// Writes & < > ' and " as HTML does.
std::string escape_html(std::string_view text);
// The result of the filter `escape`: text that counts as HTML, escaped unless it counted as HTML before.
Result<Value> to_markup(Runtime& runtime, const Value& value);

// text.replace(old, replacement, count); a negative count replaces all.
Result<Value> replaced(Runtime& runtime, std::string_view text, std::string_view old, const std::string& replacement,
                       int64_t count, bool markup);

// `format % values`, as printf formats.
Result<Value> percent_format(Runtime& runtime, const Value& format, const Value& values);
// format.format(...): Python's replacement fields, whose attributes go through the sandbox too.
Result<Value> brace_format(Runtime& runtime, const Value& format, const Arguments& arguments);
// Formats one value by a specification such as ">8.3f".
Result<std::string> format_value(Runtime& runtime, const Value& value, std::string_view specification);

}  // namespace invar::jinja
