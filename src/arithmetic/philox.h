// Random numbers by Philox4x32-10. A number is a function of (seed, position, draw) and there is no state, so that a
// seed gives the same text in every batch and on every machine. Source: Salmon et al., "Parallel random numbers: as
// easy as 1, 2, 3" (2011).
#pragma once

#include <array>
#include <cstdint>

namespace invar::law {

// Ten rounds of Philox on four 32-bit words.
std::array<uint32_t, 4> philox4x32(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key);

// The key is the seed (low word, high word), the counter (position low, position high, draw, 0). The uniform number is
// the first word's upper 24 bits times 2^-24: one of 2^24 equally spaced values in [0, 1).
float uniform(uint64_t seed, uint64_t position, uint32_t draw = 0);

}  // namespace invar::law
