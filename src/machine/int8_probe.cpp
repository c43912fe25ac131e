#include "machine/int8_probe.h"

#include <algorithm>
#include <chrono>

namespace invar {
namespace {

constexpr Int8Probe kTable[] = {
    {"vpdpbusd zmm", Isa::avx512, kInt8SumsVnni * 64, int8_steps_avx512},
    {"vpdpbusd ymm", Isa::avx_vnni, kInt8SumsVnni * 32, int8_steps_avx_vnni},
    {"vpmaddubsw ymm", Isa::avx2, kInt8SumsAvx2* kInt8ProductsWidenedTogether * 32, int8_steps_avx2},
    {"imul", Isa::scalar, kInt8SumsScalar, int8_steps_scalar},
    {"tdpbssd", Isa::amx, kInt8TilesAmx * 16 * 16 * 64, int8_steps_amx},
};

}  // namespace

std::span<const Int8Probe> int8_probes() { return kTable; }

const Int8Probe& choose_int8_probe(Isa highest, Isa of_forced_kernel) {
    if (highest == Isa::amx && of_forced_kernel == Isa::amx) return kTable[std::size(kTable) - 1];
    const auto fits = [&](const Int8Probe& probe) { return probe.isa <= highest; };
    return *std::find_if(std::begin(kTable), std::end(kTable), fits);
}

double int8_giga_multiply_adds_per_second(const Int8Probe& probe, ThreadPool& pool) {
    constexpr int kPasses = 3;
    constexpr double kLeastSeconds = 0.003;  // long against the few microseconds that starting the threads takes
    constexpr int64_t kFirstSteps = 1024, kMostSteps = int64_t{1} << 40;
    int64_t steps = kFirstSteps;
    double best = 0;
    for (int pass = 0; pass < kPasses;) {
        const auto start = std::chrono::steady_clock::now();
        pool.parallel_for(pool.threads(), 1,
                          [&](int64_t first, int64_t last, int) { probe.run(steps * (last - first)); });
        const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
        if (seconds < kLeastSeconds && steps < kMostSteps) {
            steps *= 2;
            continue;
        }
        const auto all = static_cast<double>(steps * probe.multiply_adds_a_step * pool.threads());
        best = std::max(best, all / seconds / 1e9);
        ++pass;
    }
    return best;
}

void int8_steps_scalar(int64_t steps) {
    int64_t sums[kInt8SumsScalar] = {};
    int64_t weight = 77;
    for (int64_t step = 0; step < steps; ++step) {
        for (int64_t& sum : sums) {
            int64_t x = 91;
            __asm__ volatile("imul %2, %1\n\tadd %1, %0" : "+r"(sum), "+r"(x) : "r"(weight));
        }
    }
}

}  // namespace invar
