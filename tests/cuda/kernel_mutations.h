// Breaks a kernel at each line where it synchronises, one at a time, and counts how many of these mutants are noticed:
// by the emulation or by the comparison of results. A mutant nobody notices is a barrier nobody needs.
#pragma once

#include <array>
#include <functional>
#include <string>

#include "device_case.h"

namespace invar {

// Runs the kernels under test on the device and returns the comparison of their results with the definition.
using KernelRun = std::function<Comparison(const EmulatedDevice&)>;

struct MutationCounts {
    int barriers = 0, masks = 0, waits = 0;
    int missed = 0;
    int total() const { return barriers + masks + waits; }
};

inline void break_each_word(const std::string& what, const KernelRun& run, MutationCounts& counts) {
    const EmulatedDevice healthy;
    const Comparison comparison = run(healthy);
    healthy.expect_no_fault();
    EXPECT_EQ(comparison.differ(), 0) << what;
    using simt::Breakable;
    for (const Breakable word :
         {Breakable::block_barrier, Breakable::warp_barrier, Breakable::shuffle_mask, Breakable::copy_wait}) {
        for (const simt::Place& place : healthy.emulator->places_of(word)) {
            const EmulatedDevice broken;
            broken.emulator->break_word(word, place);
            const bool differs = run(broken).differ() > 0;
            const bool noticed = differs || broken.emulator->fault().has_value();
            (word == Breakable::shuffle_mask ? counts.masks
             : word == Breakable::copy_wait  ? counts.waits
                                             : counts.barriers)++;
            if (noticed) continue;
            ++counts.missed;
            ADD_FAILURE() << what << ": nobody noticed that a word is broken at " << place.file_name() << ":"
                          << place.line();
        }
    }
}

inline void print(const std::string& what, const MutationCounts& counts) {
    std::printf("[mutation] %s: %d barriers, %d masks, %d waits broken, %d not noticed\n", what.c_str(),
                counts.barriers, counts.masks, counts.waits, counts.missed);
}

}  // namespace invar
