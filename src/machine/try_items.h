// The loop on threads for work that can fail or is asked how far it is: loading, packing, hashing, writing files.
// Verbs, which cannot fail, use the pool's own loops (thread_pool.h). It decides which error is reported, so that a
// message is the same whatever the number of threads.
#pragma once

#include <cstdint>

#include "base/result.h"
#include "machine/thread_pool.h"

namespace invar {

// body(item) for items of [0, count), each once, claimed by the next free thread in rising order, its own home's first
// where home_of names homes (thread_pool.h). Returns when all are done. Once an item failed, later ones are not begun;
// every item before it is, so the error returned is that of the lowest item that fails, as in a plain loop.
using FallibleBody = FunctionRef<Result<void>(int64_t item)>;
Result<void> try_items(ThreadPool& pool, int64_t count, FallibleBody body);
Result<void> try_items(ThreadPool& pool, int64_t count, ThreadPool::HomeOf home_of, FallibleBody body);

}  // namespace invar
