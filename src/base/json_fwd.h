// Declares the name Json, for headers that only pass a value on: including base/json.h costs each file over a second.
#pragma once

#include <nlohmann/json_fwd.hpp>

namespace invar {

using Json = nlohmann::ordered_json;  // object keys keep their order

}  // namespace invar
