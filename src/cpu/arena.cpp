// The memory of an arena is an anonymous mapping, so that pages cost nothing before they are written.
#include "cpu/arena.h"

#include <sys/mman.h>

#include <algorithm>

namespace invar {

void UnmapMemory::operator()(std::byte* memory) const { ::munmap(memory, length); }

Result<Arena> Arena::map(int64_t bytes, bool has_memory) {
    CHECK(bytes >= 0, "a size is not negative");
    const size_t length = static_cast<size_t>(std::max<int64_t>(rounded(bytes), kAlignment));
    const int protection = has_memory ? PROT_READ | PROT_WRITE : PROT_NONE;
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | (has_memory ? 0 : MAP_NORESERVE);
    void* start = ::mmap(nullptr, length, protection, flags, -1, 0);
    if (start == MAP_FAILED) {
        return fail(ErrorKind::out_of_memory,
                    "no memory for {} bytes of scratch; use a smaller prompt chunk or fewer threads", bytes);
    }
    if (has_memory) ::madvise(start, length, MADV_HUGEPAGE);  // advice: a refusal changes speed only
    Arena arena;
    arena.memory_ = std::unique_ptr<std::byte, UnmapMemory>(static_cast<std::byte*>(start), UnmapMemory{length});
    arena.size_ = static_cast<int64_t>(length);
    arena.has_memory_ = has_memory;
    return arena;
}

Result<Arena> Arena::allocate(int64_t bytes) { return map(bytes, true); }

Result<Arena> Arena::measuring() {
    // Only addresses are needed, more than any pass takes. Fewer are asked for where they are rationed (ulimit -v, 128
    // GiB under valgrind).
    int64_t bytes = int64_t{1} << 40;
    Result<Arena> arena = map(bytes, false);
    for (; !arena && bytes > int64_t{1} << 34; arena = map(bytes, false)) bytes /= 2;
    return arena;
}

void* Arena::take_bytes(int64_t count, int64_t size) {
    int64_t bytes = 0;
    CHECK(count >= 0 && !__builtin_mul_overflow(count, size, &bytes) && bytes <= size_ - taken_,
          "the plan sized the scratch memory for every verb of a pass");
    std::byte* place = memory_.get() + taken_;
    taken_ = rounded(taken_ + bytes);
    peak_ = std::max(peak_, taken_);
    return place;
}

}  // namespace invar
