// The copy, read and tensor-core probes. See probes.h.
#include "cuda/probes.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <vector>

#include "base/check.h"
#include "cuda/device_stream.cuh"
#include "cuda/kernel_loading.h"
#include "cuda/weight_pieces.cuh"

namespace invar {

using namespace cuda;

namespace cuda {

constexpr int kProbeThreads = 256, kCopiesOfThread = 4, kProducts = 8;

struct CopyArgs {
    Global<const Words4> from;
    Global<Words4> to;
    int64_t count = 0;
};

// A thread copies four pieces of 16 bytes, with all loads before all stores.
SIMT_KERNEL(kProbeThreads) copy_probe_kernel(CopyArgs args) {
    const int64_t first = int64_t{simt::block_index()} * kProbeThreads * kCopiesOfThread + simt::thread_index();
    Words4 pieces[kCopiesOfThread] = {};
    SIMT_UNROLL
    for (int i = 0; i < kCopiesOfThread; ++i)
        if (first + i * kProbeThreads < args.count)
            pieces[i] = simt::load_once(args.from + (first + i * kProbeThreads));
    SIMT_UNROLL
    for (int i = 0; i < kCopiesOfThread; ++i)
        if (first + i * kProbeThreads < args.count) args.to[first + i * kProbeThreads] = pieces[i];
}

struct ReadArgs {
    Global<const Words4> from;
    int64_t count = 0, threads = 0;
    Global<uint32_t> sums;  // [threads]: the sum of the words that a thread read
};

// A thread reads four pieces at a time; all threads together walk over them.
SIMT_KERNEL(kProbeThreads) read_probe_kernel(ReadArgs args) {
    const int64_t thread = int64_t{simt::block_index()} * kProbeThreads + simt::thread_index();
    uint32_t sum = 0;
    for (int64_t first = thread; first < args.count; first += args.threads * kCopiesOfThread) {
        Words4 pieces[kCopiesOfThread] = {};
        SIMT_UNROLL
        for (int i = 0; i < kCopiesOfThread; ++i)
            if (first + i * args.threads < args.count)
                pieces[i] = simt::load_once(args.from + (first + i * args.threads));
        SIMT_UNROLL
        for (int i = 0; i < kCopiesOfThread; ++i)
            for (int word = 0; word < 4; ++word) sum += pieces[i].w[word];
    }
    args.sums[thread] = sum;
}

struct Int8Args {
    int rounds = 0;
    Global<int32_t> sums;  // [blocks]
};

// Eight independent chains of products of ones per warp. Each product adds 32 to every sum.
SIMT_KERNEL(kProbeThreads) int8_probe_kernel(Int8Args args) {
    const uint32_t a[4] = {0x01010101u, 0x01010101u, 0x01010101u, 0x01010101u}, b[2] = {0x01010101u, 0x01010101u};
    int32_t sums[kProducts][4] = {};
    for (int round = 0; round < args.rounds; ++round) {
        SIMT_UNROLL
        for (int i = 0; i < kProducts; ++i) {
            const int32_t before[4] = {sums[i][0], sums[i][1], sums[i][2], sums[i][3]};
            simt::mma_s8(sums[i], a, b, before);
        }
    }
    int32_t all = 0;
    for (int i = 0; i < kProducts; ++i)
        for (int e = 0; e < 4; ++e) all += sums[i][e];
    if (simt::thread_index() == kProbeThreads - 1) args.sums[simt::block_index()] = all;
}

// Returns the least time of the runs.
template <class Launch>
Result<double> time_runs(Device& device, int runs, Launch launch) {
    TRY_ASSIGN(const std::unique_ptr<DeviceTimer> timer, device.make_timer());
    double best = 0;
    for (int run = 0; run < runs; ++run) {
        TRY(timer->start());
        launch();
        TRY(timer->stop());
        TRY_ASSIGN(const double milliseconds, timer->milliseconds());
        best = run == 0 ? milliseconds : std::min(best, milliseconds);
    }
    return best;
}

}  // namespace cuda

namespace {

// Word i of the data that is copied and read. The sum of all words is known, modulo 2^32.
constexpr uint32_t kPattern = 2654435761u;
uint32_t word_at(int64_t i) { return static_cast<uint32_t>(i) * kPattern; }
uint32_t sum_of_words(int64_t count) {
    const auto pairs = static_cast<uint64_t>(count % 2 == 0 ? count / 2 * (count - 1) : (count - 1) / 2 * count);
    return static_cast<uint32_t>(pairs) * kPattern;
}

}  // namespace

Result<DeviceProbes> DeviceProbes::create(Device& device, const ProbeSettings& settings) {
    CHECK(settings.copy_bytes % 16 == 0 && settings.runs > 0 && settings.rounds > 0, "probes have something to do");
    TRY_ASSIGN(const DeviceFacts facts, device.facts());
    DeviceProbes probes(device, settings);
    probes.blocks_ = facts.multiprocessors * 4;
    TRY_ASSIGN(probes.from_, device.allocate(settings.copy_bytes, "the copy probe"));
    TRY_ASSIGN(probes.to_, device.allocate(settings.copy_bytes, "the copy probe"));
    TRY_ASSIGN(probes.read_sums_, device.allocate(int64_t{probes.blocks_} * kProbeThreads * 4, "the read probe"));
    TRY_ASSIGN(probes.int8_sums_, device.allocate(int64_t{probes.blocks_} * 4, "the int8 probe"));
    const auto fill = [](int64_t first, std::span<std::byte> piece) -> Result<void> {
        for (size_t i = 0; i < piece.size(); i += 4) {
            const uint32_t word = word_at((first + static_cast<int64_t>(i)) / 4);
            std::memcpy(piece.data() + i, &word, 4);
        }
        return {};
    };
    TRY(device.upload_filled(probes.from_.get(), settings.copy_bytes, fill));
    return probes;
}

Result<DeviceProbe> DeviceProbes::measure() {
    DeviceProbe probe;
    const simt::Stream stream = stream_of(*device_);
    const int64_t count = settings_.copy_bytes / 16, of_block = int64_t{kProbeThreads} * kCopiesOfThread;
    const int64_t threads = int64_t{blocks_} * kProbeThreads;
    const auto from = simt::global(reinterpret_cast<const Words4*>(from_.get()), count);
    TRY_ASSIGN(probe.copy_milliseconds, time_runs(*device_, settings_.runs, [&] {
                   simt::launch(stream,
                                {.x = static_cast<int>((count + of_block - 1) / of_block),
                                 .threads = kProbeThreads,
                                 .name = "copy_probe"},
                                copy_probe_kernel,
                                CopyArgs{.from = from,
                                         .to = simt::global(reinterpret_cast<Words4*>(to_.get()), count),
                                         .count = count});
               }));
    TRY_ASSIGN(probe.read_milliseconds, time_runs(*device_, settings_.runs, [&] {
                   simt::launch(stream, {.x = blocks_, .threads = kProbeThreads, .name = "read_probe"},
                                read_probe_kernel,
                                ReadArgs{.from = from,
                                         .count = count,
                                         .threads = threads,
                                         .sums = simt::global(reinterpret_cast<uint32_t*>(read_sums_.get()), threads)});
               }));
    TRY_ASSIGN(probe.int8_milliseconds, time_runs(*device_, settings_.runs, [&] {
                   simt::launch(stream, {.x = blocks_, .threads = kProbeThreads, .name = "int8_probe"},
                                int8_probe_kernel,
                                Int8Args{.rounds = settings_.rounds,
                                         .sums = simt::global(reinterpret_cast<int32_t*>(int8_sums_.get()), blocks_)});
               }));
    probe.copied_bytes = 2.0 * static_cast<double>(settings_.copy_bytes);
    probe.read_bytes = static_cast<double>(settings_.copy_bytes);
    constexpr double kOfProduct = 16 * 8 * 32;
    probe.multiply_adds = kOfProduct * kProducts * settings_.rounds * (kProbeThreads / 32) * blocks_;
    TRY(check_results());
    return probe;
}

Result<void> DeviceProbes::check_results() {
    const int64_t tail_bytes = std::min<int64_t>(settings_.copy_bytes, 1 << 20);
    const int64_t tail = settings_.copy_bytes - tail_bytes, threads = int64_t{blocks_} * kProbeThreads;
    std::vector<uint32_t> copied(static_cast<size_t>(tail_bytes / 4)), sums(static_cast<size_t>(threads));
    std::vector<int32_t> added(static_cast<size_t>(blocks_));
    TRY(device_->download(copied.data(), to_.get() + tail, tail_bytes));
    TRY(device_->download(sums.data(), read_sums_.get(), threads * 4));
    TRY(device_->download(added.data(), int8_sums_.get(), int64_t{blocks_} * 4));
    bool right = std::accumulate(sums.begin(), sums.end(), uint32_t{0}) == sum_of_words(settings_.copy_bytes / 4);
    for (size_t i = 0; i < copied.size(); ++i) right &= copied[i] == word_at(tail / 4 + static_cast<int64_t>(i));
    const int32_t expected = 32 * 4 * kProducts * settings_.rounds;
    for (const int32_t sum : added) right &= sum == expected;
    if (!right)
        return fail(
            ErrorKind::device_lost,
            "the device copied, read or multiplied wrongly while it was measured: its memory or driver is damaged");
    return {};
}

const void* cuda::kernel_of_probes() { return reinterpret_cast<const void*>(copy_probe_kernel); }

}  // namespace invar
