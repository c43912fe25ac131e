#include "machine/int8_probe.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <set>

namespace invar {
namespace {

TEST(Int8Probe, HasOneLoopForEachInstructionSet) {
    std::set<Isa> isas;
    for (const Int8Probe& probe : int8_probes()) isas.insert(probe.isa);
    EXPECT_EQ(isas.size(), kAllIsas.size());
    EXPECT_EQ(int8_probes().size(), kAllIsas.size());
}

TEST(Int8Probe, ChoosesWhatKernelsUse) {
    EXPECT_EQ(choose_int8_probe(Isa::scalar, Isa::scalar).name, "imul");
    EXPECT_EQ(choose_int8_probe(Isa::avx2, Isa::scalar).name, "vpmaddubsw ymm");
    EXPECT_EQ(choose_int8_probe(Isa::avx_vnni, Isa::scalar).name, "vpdpbusd ymm");
    EXPECT_EQ(choose_int8_probe(Isa::avx512, Isa::scalar).name, "vpdpbusd zmm");
    // No kernel of AMX is taken unasked.
    EXPECT_EQ(choose_int8_probe(Isa::amx, Isa::scalar).name, "vpdpbusd zmm");
    EXPECT_EQ(choose_int8_probe(Isa::amx, Isa::amx).name, "tdpbssd");
}

TEST(Int8Probe, MeasuresWhatThisMachineHas) {
    auto pool = ThreadPool::create({.threads = 2});
    ASSERT_TRUE(pool);
    const IsaSupport support = detect_isa();
    int measured = 0;
    for (const Int8Probe& probe : int8_probes()) {
        if (!support.has(probe.isa)) {
            std::printf("[int8] %-16s not measured: %s\n", std::string(probe.name).c_str(),
                        support.missing[static_cast<size_t>(probe.isa)].c_str());
            continue;
        }
        const double giga = int8_giga_multiply_adds_per_second(probe, **pool);
        std::printf("[int8] %-16s %8.1f G multiply-adds/s of 2 threads\n", std::string(probe.name).c_str(), giga);
        // Between a slow clock under an emulator and 64 x 64 a cycle at 10 GHz: no claim about speed, but units that
        // are off by a thousand show.
        EXPECT_GT(giga, 0.01) << probe.name;
        EXPECT_LT(giga, 80'000) << probe.name;
        ++measured;
    }
    EXPECT_GE(measured, 1);
}

}  // namespace
}  // namespace invar
