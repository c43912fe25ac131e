// What every fuzzer does with a broken promise: it ends the program, so that libFuzzer keeps the input.
#pragma once

#include <cstdlib>

inline void require(bool holds) {
    if (!holds) std::abort();
}
