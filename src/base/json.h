// JSON values: with json_fwd.h, the only way in which the project uses nlohmann-json. A header that only names Json
// includes json_fwd.h instead, which is far quicker to read.
// Parse untrusted text only with parse_json or scan_json: no exception leaves them and the depth is bounded.
#pragma once

#include <nlohmann/json.hpp>
#include <string_view>

#include "base/json_fwd.h"
#include "base/result.h"

namespace invar {

// Errors name the byte where the text stops being JSON. Depth is limited to 512.
Result<Json> parse_json(std::string_view text);

// For texts of megabytes from outside: calls `events` for each piece, in order, and keeps no tree (in which looking a
// key up is linear, so that reading n keys of one object would take n^2 steps). An event that returns false ends the
// scan. Gives false when it ended early; events.parse_error() gets the byte where the text stops being JSON.
using JsonEvents = nlohmann::json_sax<Json>;
bool scan_json(std::string_view text, JsonEvents& events);

}  // namespace invar
