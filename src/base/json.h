// JSON values: the one header through which the project uses nlohmann-json. Object keys keep their order.
// Parse untrusted text only with parse_json: no exception leaves it and the depth is bounded.
#pragma once

#include <nlohmann/json.hpp>
#include <string_view>

#include "base/result.h"

namespace invar {

using Json = nlohmann::ordered_json;

// Errors name the byte where the text stops being JSON. Depth is limited to 512.
Result<Json> parse_json(std::string_view text);

}  // namespace invar
