#include "machine/read_probe.h"

#include <algorithm>
#include <chrono>
#include <new>

namespace invar {
namespace {

constexpr int64_t kWordsOfLine = 8;  // 64 bytes

// Sums words of a range; eight accumulators, so that the adds do not limit the reads.
uint64_t read_range(const uint64_t* words, int64_t count) {
    uint64_t sums[kWordsOfLine] = {};
    constexpr int64_t kAhead = 3072 / static_cast<int64_t>(sizeof(uint64_t));  // the distance the matrix kernels use
    for (int64_t i = 0; i + kWordsOfLine <= count; i += kWordsOfLine) {
        __builtin_prefetch(words + i + kAhead);
        for (int64_t j = 0; j < kWordsOfLine; ++j) sums[j] += words[i + j];
    }
    uint64_t total = 0;
    for (const uint64_t sum : sums) total += sum;
    return total;
}

}  // namespace

Result<ReadProbe> ReadProbe::create(ThreadPool& pool) {
    ReadProbe probe(pool);
    try {
        probe.memory_.assign(static_cast<size_t>(kBytes) / sizeof(uint64_t), 1);
    } catch (const std::bad_alloc&) {
        return fail(ErrorKind::out_of_memory, "not enough memory for the {} MiB of the bandwidth probe; free some",
                    kBytes >> 20);
    }
    probe.sums_.assign(static_cast<size_t>(pool.threads()) * kWordsOfLine, 0);
    return probe;
}

double ReadProbe::gigabytes_per_second() {
    constexpr int kPasses = 3;
    const auto words = static_cast<int64_t>(memory_.size());
    double best = 0;
    for (int pass = 0; pass < kPasses; ++pass) {
        const auto start = std::chrono::steady_clock::now();
        pool_->parallel_for(words, 4096, [&](int64_t first, int64_t last, int worker) {
            sums_[static_cast<size_t>(worker) * kWordsOfLine] += read_range(memory_.data() + first, last - first);
        });
        const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
        best = std::max(best, static_cast<double>(kBytes) / seconds / 1e9);
    }
    return best;
}

}  // namespace invar
