// Fork and join. Each of the two hand-overs (a loop to the workers, its end to the caller) is a counter. The sleeping
// side announces itself before it looks at the counter for the last time; the waking side moves the counter and then
// looks for sleepers. Both use sequentially consistent operations, so one of the two always sees the other and no
// wake-up is lost.
#include "machine/thread_pool.h"

#include <sched.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <system_error>
#include <utility>

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

// How often the system took this thread's CPU although it had work; 0 if the system does not count that.
int64_t involuntary_switches() {
    struct rusage usage {};
    return ::getrusage(RUSAGE_THREAD, &usage) == 0 ? usage.ru_nivcsw : 0;
}

// The nodes that have workers, at most kMostHomes. A machine of one node is returned as one that holds every CPU.
std::vector<NumaNode> nodes_with_workers(std::vector<NumaNode> nodes, int threads) {
    constexpr size_t kMostHomes = 8;
    while (nodes.size() > kMostHomes) {  // merge neighbours: two sockets of many nodes stay apart
        std::vector<NumaNode> merged;
        for (size_t i = 0; i < nodes.size(); i += 2) {
            merged.push_back(std::move(nodes[i]));
            if (i + 1 == nodes.size()) break;
            merged.back().cpus.insert(merged.back().cpus.end(), nodes[i + 1].cpus.begin(), nodes[i + 1].cpus.end());
        }
        nodes = std::move(merged);
    }
    std::vector<NumaNode> used;
    do {
        if (!used.empty()) nodes = std::exchange(used, {});
        const std::vector<int> first = workers_of_nodes(nodes, threads);
        for (size_t i = 0; i < nodes.size(); ++i) {
            if (first[i] < first[i + 1]) used.push_back(nodes[i]);
        }
    } while (used.size() < nodes.size() && !used.empty());
    if (used.size() < 2) return {{.number = 0, .cpus = usable_cpus()}};
    return used;
}

}  // namespace

int available_cpus() { return static_cast<int>(usable_cpus().size()); }

ThreadPool::ThreadPool(const ThreadPoolSettings& settings)
    : threads_(settings.threads),
      pin_(settings.pin),
      steal_(settings.steal),
      spin_microseconds_(settings.threads > available_cpus() ? 0 : settings.spin_microseconds),
      nodes_(nodes_with_workers(settings.nodes, settings.threads)),
      homes_(nodes_.size() > 1 ? RowHomes(workers_of_nodes(nodes_, settings.threads)) : RowHomes()),
      next_(nodes_.size()) {}

void CrowdWatch::look() {
    const int64_t now = involuntary_switches();
    const bool was_crowded = crowded_;
    crowded_ = !was_crowded && switches_ >= 0 && now - switches_ > kTolerated;
    switches_ = now;
    left_ = crowded_ ? kCrowdedFor : kLook;
}

// Asks the system to keep the thread on these CPUs. A refusal changes speed only.
void ThreadPool::place_worker(int worker) const {
    const int home = homes_.home_of_worker(worker);
    const std::vector<int>& cpus = nodes_[static_cast<size_t>(home)].cpus;
    if (!pin_ && nodes_.size() < 2) return;
    cpu_set_t wanted;
    CPU_ZERO(&wanted);
    int first_of_home = worker;
    while (first_of_home > 0 && homes_.home_of_worker(first_of_home - 1) == home) --first_of_home;
    for (size_t i = 0; i < cpus.size(); ++i) {
        const bool its_own = i == static_cast<size_t>(worker - first_of_home) % cpus.size();
        if ((its_own || !pin_) && cpus[i] < CPU_SETSIZE) CPU_SET(cpus[i], &wanted);
    }
    sched_setaffinity(0, sizeof(wanted), &wanted);
}

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
            return fail(ErrorKind::io, "thread {} of {} could not be started ({}); ask for fewer threads", worker + 1,
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
bool ThreadPool::spin_until(Ready ready, CrowdWatch& watch) const {
    if (ready()) return true;
    if (spin_microseconds_ <= 0) return false;
    // When other programs compete, the thread offers its CPU after each look, which costs nothing if nobody takes it.
    // Sleeping at once would cost a wake-up of 50 us per loop, a third of the speed of decoding.
    const bool crowded = watch.crowded();
    const auto end = std::chrono::steady_clock::now() + std::chrono::microseconds(spin_microseconds_);
    do {
        if (crowded) {
            std::this_thread::yield();
            continue;
        }
        for (int i = 0; i < 32; ++i) {  // about 0.5 us between looks at the clock
            if (ready()) return true;
            pause();
        }
    } while (!ready() && std::chrono::steady_clock::now() < end);
    return ready();
}

void ThreadPool::worker_loop(int worker) {
    place_worker(worker);
    CrowdWatch watch;
    uint32_t seen = 0;
    while (true) {
        const auto started = [&] { return epoch_.load() != seen; };
        if (!spin_until(started, watch)) {
            std::unique_lock lock(mutex_);
            sleeping_workers_.fetch_add(1);
            wake_workers_.wait(lock, started);
            sleeping_workers_.fetch_sub(1);
        }
        ++seen;  // the caller waits for every worker, so none is skipped
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
    if (!spin_until(finished, caller_watch_)) {
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

void ThreadPool::parallel_items(int64_t count, HomeOf home_of, ItemBody body) {
    const int homes = homes_.homes();
    if (homes == 1 || threads_ == 1 || count <= 1) return parallel_items(count, body);
    for (NextItem& next : next_) next.item.store(0, std::memory_order_relaxed);
    run([&](int worker) {
        const int own = homes_.home_of_worker(worker);
        for (int i = 0; i < (steal_ ? homes : 1); ++i) {
            const int home = (own + i) % homes;
            std::atomic<int64_t>& next = next_[static_cast<size_t>(home)].item;
            for (int64_t item = next.fetch_add(1, std::memory_order_relaxed); item < count;
                 item = next.fetch_add(1, std::memory_order_relaxed)) {
                if (home_of(item) == home) body(item, worker);
            }
        }
    });
}

}  // namespace invar
