// Reads one whole JSON file of a model directory (config.json and its kin) into a tree. It is stricter than JSON where
// two readers could see two things: a key that stands twice in one object is refused. It is laxer in one place: Python
// writes NaN, Infinity and -Infinity, and such a value is read as a text, so that only whoever wants a number there
// meets it. Time and memory grow with the text, whatever stands in it. What the keys mean is not decided here.
#pragma once

#include <string>
#include <string_view>

#include "base/json_fwd.h"
#include "base/result.h"

namespace invar {

inline constexpr size_t kJsonDocumentMostDepth = 100;

// `file` is how messages call the file. Errors: not JSON (with the byte), a key twice (with its place), nested deeper
// than kJsonDocumentMostDepth, a number above binary64's range.
Result<Json> parse_json_document(std::string_view text, const std::string& file);

// "a number", "null": for messages.
std::string_view kind_of(const Json& value);

}  // namespace invar
