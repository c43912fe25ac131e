// The limits of one rendering of a template. runtime.h counts against them.
#pragma once

#include <cstdint>

namespace invar {

struct TemplateLimits {
    int64_t steps = 5'000'000;         // nodes evaluated, items iterated, 64-byte pieces of text touched
    int64_t output_bytes = 64 << 20;   // bytes of the result, and of any text captured on the way
    int64_t memory_bytes = 256 << 20;  // of values alive at one time
    int depth = 200;                   // macro calls within macro calls
};

}  // namespace invar
