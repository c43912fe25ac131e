// The scratch memory of a CpuOps: one block of fixed size, handed out from the front, 64-byte aligned. Memory stays
// taken until a mark taken before it is given back; nothing is freed one by one. Running out is a bug of the plan that
// sized it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <type_traits>

#include "base/check.h"
#include "base/result.h"

namespace invar {

struct UnmapMemory {
    size_t length = 0;
    void operator()(std::byte* memory) const;
};

class Arena {
  public:
    static constexpr int64_t kAlignment = 64;
    static constexpr int64_t rounded(int64_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

    // `bytes` of memory, zero until written.
    static Result<Arena> allocate(int64_t bytes);
    // Addresses without memory behind them, for a dry pass that measures how much is taken. Touching one is a fault.
    static Result<Arena> measuring();

    bool has_memory() const { return has_memory_; }
    int64_t mark() const { return taken_; }
    void give_back_to(int64_t mark) { taken_ = mark; }
    int64_t peak() const { return peak_; }  // most bytes ever taken
    int64_t size() const { return size_; }
    std::span<std::byte> memory() const { return {memory_.get(), static_cast<size_t>(size_)}; }

    // Room for `count` objects; contents undefined.
    template <class T>
    T* take(int64_t count) {
        static_assert(std::is_trivially_copyable_v<T> && alignof(T) <= kAlignment);
        return static_cast<T*>(take_bytes(count, sizeof(T)));
    }

  private:
    Arena() = default;
    static Result<Arena> map(int64_t bytes, bool has_memory);
    void* take_bytes(int64_t count, int64_t size);

    std::unique_ptr<std::byte, UnmapMemory> memory_;
    int64_t size_ = 0, taken_ = 0, peak_ = 0;
    bool has_memory_ = false;
};

// Gives back everything that was taken since its construction: the temporaries of one verb.
class ArenaScope {
  public:
    explicit ArenaScope(Arena& arena) : arena_(arena), mark_(arena.mark()) {}
    ~ArenaScope() { arena_.give_back_to(mark_); }
    ArenaScope(const ArenaScope&) = delete;
    ArenaScope& operator=(const ArenaScope&) = delete;

  private:
    Arena& arena_;
    int64_t mark_;
};

}  // namespace invar
