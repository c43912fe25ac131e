// The tests of tests/cuda that ask a device and not the emulation, on the CUDA device of this machine. Without one they
// are skipped, by name of what is missing, and the program ends with 77, which is neither passed (0) nor failed (1).
#include <gtest/gtest.h>

#include <cstdio>

#include "cuda/device.h"

constexpr int kSkipped = 77;

int main(int argc, char** argv) {
    testing::InitGoogleTest(&argc, argv);
    const auto device = invar::Device::open(0);
    if (!device) {
        std::printf("skipped: no device: %s\n", device.error().message.c_str());
        return kSkipped;
    }
    const auto facts = (*device)->facts();
    if (!facts) {
        std::printf("device 0 does not answer: %s\n", facts.error().message.c_str());
        return 1;
    }
    std::printf("device 0: %s, compute capability %d.%d, %d multiprocessors\n", facts->name.c_str(),
                facts->compute_capability / 10, facts->compute_capability % 10, facts->multiprocessors);
    return RUN_ALL_TESTS();
}
