// Measures the memory bandwidth that reading threads get right now; `invar bench` compares its figures with this
// ceiling. It reads a buffer larger than any cache, with the same pool and the same split as a matrix product.
#pragma once

#include <cstdint>
#include <vector>

#include "base/result.h"
#include "machine/thread_pool.h"

namespace invar {

class ReadProbe {
  public:
    static constexpr int64_t kBytes = int64_t{512} << 20;

    static Result<ReadProbe> create(ThreadPool& pool);
    // The best of a few passes over the buffer, in 1e9 bytes per second.
    double gigabytes_per_second();

  private:
    explicit ReadProbe(ThreadPool& pool) : pool_(&pool) {}

    ThreadPool* pool_;
    std::vector<uint64_t> memory_;
    std::vector<uint64_t> sums_;  // per worker; they keep the compiler from removing the reads
};

}  // namespace invar
