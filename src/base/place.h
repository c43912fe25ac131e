// Says whether memory belongs to the host or to a device. Code never reads through a pointer of the other place.
#pragma once

#include <cstdint>

namespace invar {

enum class Place : uint8_t { host, device };

}  // namespace invar
