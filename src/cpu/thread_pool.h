// n threads, the caller among them, that start and finish a loop together in microseconds: between loops they spin for
// a bounded time and then sleep. It decides which thread does which part and nothing about results: no verb's result
// depends on the split. No globals: each engine owns its pool, and several may live side by side. Read cpu_ops.cpp for
// its use.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "base/result.h"
#include "cpu/function_ref.h"

namespace invar {

struct ThreadPoolSettings {
    int threads = 1;             // the caller included
    bool pin = false;            // worker w runs on the w-th CPU this process may use; the caller is left alone
    int spin_microseconds = 50;  // how long a thread waits awake; ignored (0) with more threads than CPUs
};

// CPUs this process may run on.
int available_cpus();

class ThreadPool {
  public:
    using RangeBody = FunctionRef<void(int64_t first, int64_t last, int worker)>;
    using ItemBody = FunctionRef<void(int64_t item, int worker)>;

    // Fails when `threads` is below 1 or the system refuses to start one.
    static Result<std::unique_ptr<ThreadPool>> create(const ThreadPoolSettings& settings);
    ~ThreadPool();
    ThreadPool(const ThreadPool&) = delete;
    ThreadPool& operator=(const ThreadPool&) = delete;

    int threads() const { return threads_; }

    // body(first, last, worker) once at most for each worker 0 .. threads()-1, over disjoint ranges that cover [0,
    // count). Ranges start at multiples of `grain` and depend on count, grain and threads() only. Returns when all are
    // done. The body must not throw nor use the pool.
    void parallel_for(int64_t count, int64_t grain, RangeBody body);

    // body(item, worker) for each item of [0, count), each claimed by the next free thread: for items of unequal cost.
    void parallel_items(int64_t count, ItemBody body);

  private:
    explicit ThreadPool(const ThreadPoolSettings& settings);
    void run(FunctionRef<void(int worker)> body);
    void worker_loop(int worker);
    template <class Ready>
    bool spin_until(Ready ready) const;

    int threads_ = 1;
    bool pin_ = false;
    int spin_microseconds_ = 0;
    const FunctionRef<void(int)>* body_ = nullptr;  // written before epoch_ moves on, read after
    std::vector<std::thread> workers_;

    // Each on a cache line of its own: workers poll epoch_ while the caller polls unfinished_.
    alignas(64) std::atomic<uint32_t> epoch_{0};  // number of loops started
    alignas(64) std::atomic<int> unfinished_{0};  // workers that have not finished this loop
    alignas(64) std::atomic<int> sleeping_workers_{0};
    std::atomic<bool> caller_sleeps_{false};
    std::atomic<bool> stopping_{false};
    std::atomic<bool> busy_{false};
    std::mutex mutex_;
    std::condition_variable wake_workers_, wake_caller_;
};

}  // namespace invar
