// The name of a JSON value, for headers that only pass one on: reading base/json.h costs every file more than a second.
#pragma once

#include <nlohmann/json_fwd.hpp>

namespace invar {

using Json = nlohmann::ordered_json;  // object keys keep their order

}  // namespace invar
