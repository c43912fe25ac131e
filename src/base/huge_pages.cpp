#include "base/huge_pages.h"

#include <sys/mman.h>

#include <limits>

namespace invar {

std::shared_ptr<std::byte> map_huge_pages(size_t bytes, MemoryPromise promise) {
    if (bytes > std::numeric_limits<size_t>::max() - 2 * kHugePage) return nullptr;
    const size_t length = bytes + kHugePage;
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | (promise == MemoryPromise::none ? MAP_NORESERVE : 0);
    void* start = ::mmap(nullptr, length, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (start == MAP_FAILED) return nullptr;
    const auto address = reinterpret_cast<size_t>(start);
    auto* memory = static_cast<std::byte*>(start) + ((address + kHugePage - 1) / kHugePage * kHugePage - address);
    ::madvise(memory, bytes, MADV_HUGEPAGE);  // advice: a refusal changes speed only
    return {memory, [start, length](std::byte*) { ::munmap(start, length); }};
}

}  // namespace invar
