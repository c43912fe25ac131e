// An anonymous mapping for which no memory is reserved: see sparse_memory.h.
#include "base/sparse_memory.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstring>

namespace invar {

Result<SparseMemory> SparseMemory::create(uint64_t bytes) {
    if (bytes == 0) return SparseMemory(nullptr, 0);
    void* data = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (data == MAP_FAILED) {
        return fail(ErrorKind::io, "the system gives no {} bytes of addresses ({}), although they would take no memory",
                    bytes, std::strerror(errno));
    }
    return SparseMemory(static_cast<std::byte*>(data), bytes);
}

SparseMemory::~SparseMemory() {
    if (data_ != nullptr) ::munmap(data_, size_);
}

}  // namespace invar
