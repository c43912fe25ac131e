// How much memory this process occupies according to the operating system, for comparing plans with reality. The
// numbers come from /proc/self/smaps and /proc/self/pagemap (Linux), which walk the page tables and are exact to the
// page.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"

namespace invar {

// A reading at one moment, in bytes of whole pages.
struct ResidentMemory {
    struct Mapping {
        uintptr_t begin = 0, end = 0;
        int64_t resident = 0, anonymous = 0;
    };
    std::vector<Mapping> mappings;
    int64_t anonymous = 0;  // pages that belong to no file: heap, stacks, anonymous mappings, the program's variables
    int64_t file = 0;       // pages of mapped files: model files, the program, its libraries
    int64_t swapped = 0;    // anonymous pages that were moved out

    // The part of `file` within the mappings that the range touches.
    int64_t file_within(std::span<const std::byte> range) const;
};
Result<ResidentMemory> resident_memory();
// Returns freed heap memory to the system, so that later allocations count as growth.
void release_free_memory();

// Bytes of the pages in memory that the ranges touch; a page that several ranges touch counts once.
Result<int64_t> resident_bytes(std::span<const std::span<const std::byte>> ranges);

}  // namespace invar
