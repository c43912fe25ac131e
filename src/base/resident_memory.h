// What the operating system says this process occupies, for comparing plans with reality. Read from /proc/self/smaps
// and /proc/self/pagemap (Linux), which walk the page tables and are exact to the page.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"

namespace invar {

// At one moment, in bytes of whole pages.
struct ResidentMemory {
    struct Mapping {
        uintptr_t begin = 0, end = 0;
        int64_t resident = 0, anonymous = 0;
    };
    std::vector<Mapping> mappings;
    int64_t anonymous = 0;  // pages that are no file's: heap, stacks, anonymous mappings, the program's own variables
    int64_t file = 0;       // pages of mapped files: model files, the program, its libraries
    int64_t swapped = 0;    // anonymous pages that were moved out

    // Of `file`, what lies within the mappings that the range touches.
    int64_t file_within(std::span<const std::byte> range) const;
};
Result<ResidentMemory> resident_memory();
// Gives freed heap memory back to the system, so that what is allocated from now on counts as growth.
void release_free_memory();

// Bytes of the pages that the ranges touch and that are in memory now; a page that several touch counts once.
Result<int64_t> resident_bytes(std::span<const std::span<const std::byte>> ranges);

}  // namespace invar
