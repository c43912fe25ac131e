// Anonymous memory that the system may back with huge pages, for data that is read and written whole in every pass
// (weights, the KV cache). It is a mapping of its own rather than heap memory; otherwise later heap allocations would
// get huge pages too, which nobody planned.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

namespace invar {

inline constexpr size_t kHugePage = size_t{2} << 20;

enum class MemoryPromise : uint8_t { kept, none /* little of it will be touched: the system need not have it all */ };

// Zeros, aligned to a huge page, that take no memory before they are written; nullptr where the system has none.
std::shared_ptr<std::byte> map_huge_pages(size_t bytes, MemoryPromise promise = MemoryPromise::kept);

}  // namespace invar
