// Finds the first NaN or infinity of a pass on the device. It is one 64-bit cell that every kernel lowers with an
// atomic minimum. The order is by call of the pass, then job, row and element, like the CPU's (cpu/cpu_ops.cpp,
// `report_finding`).
#pragma once

#include "cuda/simt.h"

namespace invar::cuda {

inline constexpr uint64_t kNoFailure = ~uint64_t{0};

// call 20 bits | job 4 | row 16 | element 22 | kind 2 (0 NaN, 1 +inf, 2 -inf)
struct FailureKey {
    int call, job;
    int64_t row, element;
    int kind;
};
inline constexpr int64_t kMostCalls = 1 << 20, kMostRows = 1 << 16, kMostElements = 1 << 22;

inline FailureKey failure_of(uint64_t key) {
    return {.call = static_cast<int>(key >> 44),
            .job = static_cast<int>(key >> 40 & 15),
            .row = static_cast<int64_t>(key >> 24 & 0xFFFF),
            .element = static_cast<int64_t>(key >> 2 & 0x3FFFFF),
            .kind = static_cast<int>(key & 3)};
}

struct Inspector {
    simt::Global<uint64_t> cell;
    uint64_t first_key = 0;  // of the call and job

    static Inspector of(simt::Global<uint64_t> cell, int call, int job = 0) {
        return {cell, static_cast<uint64_t>(call) << 44 | static_cast<uint64_t>(job) << 40};
    }
};

SIMT_DEVICE void inspect(const Inspector& inspector, int64_t row, int64_t element, float value) {
    const uint32_t bits = simt::as_bits(value);
    if ((bits & 0x7F800000u) != 0x7F800000u) return;
    const uint32_t kind = (bits & 0x007FFFFFu) != 0 ? 0 : bits >> 31 != 0 ? 2 : 1;
    simt::atomic_min(inspector.cell, inspector.first_key | static_cast<uint64_t>(row) << 24 |
                                         static_cast<uint64_t>(element) << 2 | kind);
}

}  // namespace invar::cuda
