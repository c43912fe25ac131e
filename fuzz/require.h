// Ends the program if a promise is broken, so that libFuzzer keeps the input.
#pragma once

#include <cstdlib>

inline void require(bool holds) {
    if (!holds) std::abort();
}
