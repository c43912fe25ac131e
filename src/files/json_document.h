// Reads one whole JSON file of a model directory (config.json and its kin) into a tree. It is stricter than JSON where
// readers could disagree: a key that stands twice in one object is refused. It is laxer in one place: Python writes
// NaN, Infinity and -Infinity, and such a value is read as a text, so that only code that wants a number there meets
// it. Time and memory are proportional to the text, whatever it contains. Other code decides what the keys mean.
#pragma once

#include <string>
#include <string_view>

#include "base/json_fwd.h"
#include "base/result.h"

namespace invar {

inline constexpr size_t kJsonDocumentMostDepth = 100;

// Messages call the file `file`. Errors: not JSON (with the byte), a key that stands twice (with its place), nesting
// deeper than kJsonDocumentMostDepth, a number above binary64's range.
Result<Json> parse_json_document(std::string_view text, const std::string& file);

// Names a value's kind for messages: "a number", "null".
std::string_view kind_of(const Json& value);

}  // namespace invar
