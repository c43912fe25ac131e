// The memory bandwidth that reading threads get right now: the ceiling that `invar bench` states its figures against.
// Reads a buffer larger than any cache with the same pool and split that a matrix product has. It computes nothing of a
// model.
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
    // Best of a few passes over the buffer, in 1e9 bytes a second.
    double gigabytes_per_second();

  private:
    explicit ReadProbe(ThreadPool& pool) : pool_(&pool) {}

    ThreadPool* pool_;
    std::vector<uint64_t> memory_;
    std::vector<uint64_t> sums_;  // by worker, so that the reads are not dead
};

}  // namespace invar
