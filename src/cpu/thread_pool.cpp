// Fork and join. The two hand-overs (a loop to the workers, its end to the caller) are a counter each; the sleeping
// side announces itself before its last look at the counter, the waking side looks for sleepers after moving it. Both
// use sequentially consistent operations, so one of the two always sees the other and no wake-up is lost.
#include "cpu/thread_pool.h"

#include <sched.h>

#include <algorithm>
#include <chrono>
#include <system_error>

#include "base/check.h"

namespace invar {
namespace {

void pause() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#else
    std::this_thread::yield();
#endif
}

// The index-th CPU this process may use, counted round the set.
void pin_to_cpu(int index) {
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0) return;
    int left = index % std::max(1, CPU_COUNT(&allowed));
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
        if (!CPU_ISSET(cpu, &allowed) || left-- > 0) continue;
        cpu_set_t one;
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        sched_setaffinity(0, sizeof(one), &one);  // a wish: refusing it changes speed only
        return;
    }
}

}  // namespace

int available_cpus() {
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof(allowed), &allowed) == 0) return std::max(1, CPU_COUNT(&allowed));
    return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

ThreadPool::ThreadPool(const ThreadPoolSettings& settings)
    : threads_(settings.threads),
      pin_(settings.pin),
      spin_microseconds_(settings.threads > available_cpus() ? 0 : settings.spin_microseconds) {}

Result<std::unique_ptr<ThreadPool>> ThreadPool::create(const ThreadPoolSettings& settings) {
    constexpr int kMostThreads = 4096;
    if (settings.threads < 1 || settings.threads > kMostThreads) {
        return fail("{} threads were asked for; ask for 1 to {}", settings.threads, kMostThreads);
    }
    std::unique_ptr<ThreadPool> pool(new ThreadPool(settings));
    pool->workers_.reserve(static_cast<size_t>(settings.threads - 1));
    for (int worker = 1; worker < settings.threads; ++worker) {
        try {
            pool->workers_.emplace_back([raw = pool.get(), worker] { raw->worker_loop(worker); });
        } catch (const std::system_error& error) {
            return fail("thread {} of {} could not be started ({}); ask for fewer threads", worker + 1,
                        settings.threads, error.what());
        }
    }
    return pool;
}

ThreadPool::~ThreadPool() {
    {
        const std::lock_guard lock(mutex_);
        stopping_.store(true);
        epoch_.fetch_add(1);
    }
    wake_workers_.notify_all();
    for (std::thread& worker : workers_) worker.join();
}

template <class Ready>
bool ThreadPool::spin_until(Ready ready) const {
    if (ready()) return true;
    if (spin_microseconds_ <= 0) return false;
    const auto end = std::chrono::steady_clock::now() + std::chrono::microseconds(spin_microseconds_);
    do {
        for (int i = 0; i < 32; ++i) {  // about 0.5 us between looks at the clock
            if (ready()) return true;
            pause();
        }
    } while (std::chrono::steady_clock::now() < end);
    return ready();
}

void ThreadPool::worker_loop(int worker) {
    if (pin_) pin_to_cpu(worker);
    uint32_t seen = 0;
    while (true) {
        const auto started = [&] { return epoch_.load() != seen; };
        if (!spin_until(started)) {
            std::unique_lock lock(mutex_);
            sleeping_workers_.fetch_add(1);
            wake_workers_.wait(lock, started);
            sleeping_workers_.fetch_sub(1);
        }
        ++seen;  // the caller waits for every worker, so epochs are never skipped
        if (stopping_.load()) return;
        (*body_)(worker);
        if (unfinished_.fetch_sub(1) == 1 && caller_sleeps_.load()) {
            const std::lock_guard lock(mutex_);
            wake_caller_.notify_one();
        }
    }
}

void ThreadPool::run(FunctionRef<void(int worker)> body) {
    CHECK(!busy_.exchange(true), "a pool runs one loop at a time, and a loop's body starts none");
    body_ = &body;
    unfinished_.store(threads_ - 1);
    epoch_.fetch_add(1);
    if (sleeping_workers_.load() > 0) {
        const std::lock_guard lock(mutex_);
        wake_workers_.notify_all();
    }
    body(0);
    const auto finished = [&] { return unfinished_.load() == 0; };
    if (!spin_until(finished)) {
        std::unique_lock lock(mutex_);
        caller_sleeps_.store(true);
        wake_caller_.wait(lock, finished);
        caller_sleeps_.store(false);
    }
    busy_.store(false);
}

void ThreadPool::parallel_for(int64_t count, int64_t grain, RangeBody body) {
    CHECK(grain > 0, "a range has at least one item");
    if (count <= 0) return;
    const int64_t grains = (count + grain - 1) / grain;
    if (threads_ == 1 || grains == 1) return body(0, count, 0);
    run([&](int worker) {
        const int64_t first = grains * worker / threads_ * grain;
        const int64_t last = std::min(count, grains * (worker + 1) / threads_ * grain);
        if (first < last) body(first, last, worker);
    });
}

void ThreadPool::parallel_items(int64_t count, ItemBody body) {
    if (count <= 0) return;
    if (threads_ == 1 || count == 1) {
        for (int64_t item = 0; item < count; ++item) body(item, 0);
        return;
    }
    std::atomic<int64_t> next{0};
    run([&](int worker) {
        for (int64_t item = next.fetch_add(1, std::memory_order_relaxed); item < count;
             item = next.fetch_add(1, std::memory_order_relaxed)) {
            body(item, worker);
        }
    });
}

}  // namespace invar
