// Whether memory belongs to the host or to a device. Pointers of one place are never read through in the other.
#pragma once

#include <cstdint>

namespace invar {

enum class Place : uint8_t { host, device };

}  // namespace invar
