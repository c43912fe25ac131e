// Memory of any size that reads as zeros and takes pages only where it was written. With it a file's header can stand
// before bytes that nobody makes, so that what reads headers only need not know that there is no file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "base/result.h"

namespace invar {

class SparseMemory {
  public:
    // Fails if the system gives no such range of addresses.
    static Result<SparseMemory> create(uint64_t bytes);

    SparseMemory(SparseMemory&& other) noexcept
        : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
    SparseMemory& operator=(SparseMemory&& other) noexcept {
        std::swap(data_, other.data_);
        std::swap(size_, other.size_);
        return *this;
    }
    SparseMemory(const SparseMemory&) = delete;
    SparseMemory& operator=(const SparseMemory&) = delete;
    ~SparseMemory();

    std::span<std::byte> bytes() { return {data_, size_}; }
    std::span<const std::byte> bytes() const { return {data_, size_}; }

  private:
    SparseMemory(std::byte* data, size_t size) : data_(data), size_(size) {}

    std::byte* data_;
    size_t size_;
};

}  // namespace invar
