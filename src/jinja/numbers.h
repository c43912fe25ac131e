// Python's arithmetic on bool, int and float, and conversion between numbers and text. Integers have 64 bits; a result
// that does not fit is an error. Text does not depend on the locale.
#pragma once

#include <optional>

#include "jinja/tree.h"
#include "jinja/value.h"

namespace invar::jinja {

// `operation` must be one of the seven arithmetic ones, and both values must be numbers.
Result<Value> arithmetic(Operation operation, const Value& left, const Value& right);
Result<Value> negated(const Value& number);

double to_real(const Value& number);

// The shortest text that reads back as the same float, as repr() writes it: "0.1", "1e+16", "inf".
std::string float_text(double value);
// printf's %f, %e and %g ("f", "e", "g" and their upper-case forms), without a sign.
std::string float_text(double magnitude, char type, int precision);

// Read text as Python's int() and float() do; nullopt where Python raises ValueError. Integers beyond 64 bits fail.
Result<std::optional<int64_t>> parse_integer(std::string_view text, int base);
std::optional<double> parse_real(std::string_view text);

Result<int64_t> truncated(double value);   // int(value)
double rounded(double value, int digits);  // round(value, digits): exact, ties to even
Result<int64_t> rounded(int64_t value, int digits);

}  // namespace invar::jinja
