// See try_items.h. An item is left out only when a lower one failed, so the lowest failure is never left out.
#include "machine/try_items.h"

#include <atomic>
#include <mutex>
#include <utility>

namespace invar {
namespace {

class FirstFailure {
  public:
    explicit FirstFailure(int64_t count) : item_(count) {}

    bool comes_after(int64_t item) const { return item < item_.load(std::memory_order_relaxed); }
    void add(int64_t item, Result<void> failed) {
        const std::lock_guard lock(mutex_);
        if (!comes_after(item)) return;
        item_.store(item, std::memory_order_relaxed);
        result_ = std::move(failed);
    }
    Result<void> take() { return std::move(result_); }

  private:
    std::atomic<int64_t> item_;  // the lowest that failed so far; the number of items while none did
    std::mutex mutex_;
    Result<void> result_;
};

}  // namespace

Result<void> try_items(ThreadPool& pool, int64_t count, FallibleBody body) {
    return try_items(
        pool, count, [](int64_t) { return 0; }, body);
}

Result<void> try_items(ThreadPool& pool, int64_t count, ThreadPool::HomeOf home_of, FallibleBody body) {
    FirstFailure first(count);
    pool.parallel_items(count, home_of, [&](int64_t item, int) {
        if (!first.comes_after(item)) return;
        Result<void> done = body(item);
        if (!done) first.add(item, std::move(done));
    });
    return first.take();
}

}  // namespace invar
