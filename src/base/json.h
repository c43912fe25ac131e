// JSON values. This header and json_fwd.h are the only places that use nlohmann-json. A header that only names Json
// includes json_fwd.h instead, which compiles far faster.
// Untrusted text is parsed with parse_json or scan_json only: they throw no exception and bound the depth.
#pragma once

#include <nlohmann/json.hpp>
#include <string_view>

#include "base/json_fwd.h"
#include "base/result.h"

namespace invar {

// Errors name the byte where the text stops being JSON. Depth is limited to 512.
Result<Json> parse_json(std::string_view text);

// For large untrusted texts (megabytes). Calls `events` for each piece in order and keeps no tree: a tree looks up keys
// linearly, so that reading n keys of one object would take n^2 steps. An event that returns false ends the scan.
// Returns false when the scan ended early; events.parse_error() gets the byte where the text stops being JSON.
using JsonEvents = nlohmann::json_sax<Json>;
bool scan_json(std::string_view text, JsonEvents& events);

}  // namespace invar
