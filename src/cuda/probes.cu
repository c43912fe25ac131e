// The copy and the tensor-core probe. See probes.h.
#include "cuda/probes.h"

#include <algorithm>
#include <vector>

#include "base/check.h"
#include "cuda/device_stream.cuh"
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

// A thread copies four pieces of 16 bytes, all loads before all stores.
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

struct Int8Args {
    int rounds = 0;
    Global<int32_t> sums;  // [blocks]
};

// Eight independent chains of products of ones a warp: each adds 32 to every sum.
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

// The least time of the runs.
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

Result<DeviceProbe> probe_device(Device& device, const ProbeSettings& settings) {
    CHECK(settings.copy_bytes % 16 == 0 && settings.runs > 0 && settings.rounds > 0, "probes have something to do");
    TRY_ASSIGN(const DeviceFacts facts, device.facts());
    TRY_ASSIGN(const DeviceBytes from, device.allocate(settings.copy_bytes, "the copy probe"));
    TRY_ASSIGN(const DeviceBytes to, device.allocate(settings.copy_bytes, "the copy probe"));
    const int blocks = facts.multiprocessors * 4;
    TRY_ASSIGN(const DeviceBytes sums, device.allocate(blocks * 4, "the int8 probe"));
    std::vector<std::byte> pattern(static_cast<size_t>(std::min<int64_t>(settings.copy_bytes, 1 << 20)));
    for (size_t i = 0; i < pattern.size(); ++i) pattern[i] = static_cast<std::byte>(i * 7 + i / 256);
    const int64_t tail = settings.copy_bytes - static_cast<int64_t>(pattern.size());
    TRY(device.upload(from.get() + tail, pattern.data(), static_cast<int64_t>(pattern.size())));

    DeviceProbe probe;
    const simt::Stream stream = stream_of(device);
    const int64_t count = settings.copy_bytes / 16, of_block = int64_t{kProbeThreads} * kCopiesOfThread;
    TRY_ASSIGN(probe.copy_milliseconds, time_runs(device, settings.runs, [&] {
                   simt::launch(stream,
                                {.x = static_cast<int>((count + of_block - 1) / of_block),
                                 .threads = kProbeThreads,
                                 .name = "copy_probe"},
                                copy_probe_kernel,
                                CopyArgs{.from = simt::global(reinterpret_cast<const Words4*>(from.get()), count),
                                         .to = simt::global(reinterpret_cast<Words4*>(to.get()), count),
                                         .count = count});
               }));
    probe.copied_bytes = 2.0 * static_cast<double>(settings.copy_bytes);
    TRY_ASSIGN(probe.int8_milliseconds, time_runs(device, settings.runs, [&] {
                   simt::launch(stream, {.x = blocks, .threads = kProbeThreads, .name = "int8_probe"},
                                int8_probe_kernel,
                                Int8Args{.rounds = settings.rounds,
                                         .sums = simt::global(reinterpret_cast<int32_t*>(sums.get()), blocks)});
               }));
    constexpr double kOfProduct = 16 * 8 * 32;
    probe.multiply_adds = kOfProduct * kProducts * settings.rounds * (kProbeThreads / 32) * blocks;

    std::vector<std::byte> copied(pattern.size());
    std::vector<int32_t> added(static_cast<size_t>(blocks));
    TRY(device.download(copied.data(), to.get() + tail, static_cast<int64_t>(copied.size())));
    TRY(device.download(added.data(), sums.get(), int64_t{blocks} * 4));
    const int32_t expected = 32 * 4 * kProducts * settings.rounds;
    if (copied != pattern || std::any_of(added.begin(), added.end(), [&](int32_t sum) { return sum != expected; }))
        return fail("the device copied or multiplied wrongly while it was measured: its memory or driver is damaged");
    return probe;
}

}  // namespace invar
