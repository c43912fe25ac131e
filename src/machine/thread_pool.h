// A pool of n threads, the caller among them, that start and finish a loop together within microseconds. Between loops
// they spin for a bounded time and then sleep; if other programs want the same CPUs, they offer them while they wait.
// The pool decides which thread does which part; no verb's result depends on that split. There are no globals: each
// engine owns its pool, and several may live side by side. cpu_ops.cpp shows its use.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "base/result.h"
#include "machine/function_ref.h"
#include "machine/numa.h"
#include "machine/row_homes.h"

namespace invar {

struct ThreadPoolSettings {
    int threads = 1;             // the caller included
    bool pin = false;            // each worker stays on one CPU; the caller is left alone
    int spin_microseconds = 50;  // how long a thread waits awake; ignored (0) with more threads than CPUs
    // The machine's nodes: workers are spread over them and stay on theirs. With none or one, the system places them.
    std::vector<NumaNode> nodes;
    // Whether a worker without work takes items of another node. Only tests of placement turn it off.
    bool steal = true;
};

// Detects that other programs want this thread's CPU, from how often the system took it away lately. Spinning would
// then take time from threads that have work, among them other workers of this pool.
class CrowdWatch {
  public:
    // Asked once per loop; reads the system's count every kLook loops (0.3 us each time).
    bool crowded() {
        if (--left_ <= 0) look();
        return crowded_;
    }

  private:
    static constexpr int kLook = 256;         // 10 to 50 ms of decoding
    static constexpr int kCrowdedFor = 4096;  // loops in which waiting threads offer the CPU; then they spin again
    static constexpr int64_t kTolerated = 2;  // switches within kLook loops
    void look();

    int left_ = kLook;
    int64_t switches_ = -1;
    bool crowded_ = false;
};

// CPUs this process may run on.
int available_cpus();

class ThreadPool {
  public:
    using RangeBody = FunctionRef<void(int64_t first, int64_t last, int worker)>;
    using ItemBody = FunctionRef<void(int64_t item, int worker)>;
    using HomeOf = FunctionRef<int(int64_t item)>;

    // Fails when `threads` is below 1 or the system refuses to start one.
    static Result<std::unique_ptr<ThreadPool>> create(const ThreadPoolSettings& settings);
    ~ThreadPool();
    ThreadPool(const ThreadPool&) = delete;
    ThreadPool& operator=(const ThreadPool&) = delete;

    int threads() const { return threads_; }

    // Calls body(first, last, worker) at most once for each worker 0 .. threads()-1, over disjoint ranges that cover
    // [0, count). Ranges start at multiples of `grain` and depend on count, grain and threads() only. Returns when all
    // are done. The body must not throw or use the pool.
    void parallel_for(int64_t count, int64_t grain, RangeBody body);

    // Calls body(item, worker) for each item of [0, count). The next free thread claims an item: for items of unequal
    // cost.
    void parallel_items(int64_t count, ItemBody body);
    // The same, but a worker claims the items of its own home first: home_of(item) is one of row_homes().
    void parallel_items(int64_t count, HomeOf home_of, ItemBody body);
    const RowHomes& row_homes() const { return homes_; }

  private:
    explicit ThreadPool(const ThreadPoolSettings& settings);
    void run(FunctionRef<void(int worker)> body);
    void worker_loop(int worker);
    template <class Ready>
    bool spin_until(Ready ready, CrowdWatch& watch) const;
    void place_worker(int worker) const;

    // The next item of one home, on a cache line of its own.
    struct alignas(64) NextItem {
        std::atomic<int64_t> item{0};
    };

    int threads_ = 1;
    bool pin_ = false, steal_ = true;
    int spin_microseconds_ = 0;
    std::vector<NumaNode> nodes_;  // at least one; if there are several, each has workers
    RowHomes homes_;
    std::vector<NextItem> next_;  // [homes]
    CrowdWatch caller_watch_;
    const FunctionRef<void(int)>* body_ = nullptr;  // written before epoch_ moves on, read after
    std::vector<std::thread> workers_;

    // Each is on its own cache line: workers poll epoch_ while the caller polls unfinished_.
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
