// Progress of work that several threads share. Any thread adds to it; the caller's progress function is called only
// from the thread that made this, as LoadProgress promises.
#pragma once

#include <atomic>
#include <thread>

#include "load/loader.h"

namespace invar {

class WorkProgress {
  public:
    WorkProgress(const LoadProgress& progress, int64_t total) : progress_(progress), total_(total) {}

    void add(int64_t bytes) {
        const int64_t done = done_.fetch_add(bytes, std::memory_order_relaxed) + bytes;
        if (progress_ && std::this_thread::get_id() == caller_) progress_(done, total_);
    }
    // Call this from the thread that made this, when all is done.
    void finish() {
        if (progress_) progress_(total_, total_);
    }

  private:
    const LoadProgress& progress_;
    const int64_t total_;
    const std::thread::id caller_ = std::this_thread::get_id();
    std::atomic<int64_t> done_{0};
};

}  // namespace invar
