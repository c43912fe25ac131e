// The sentences of machines whose device cannot be used, each as a machine of that kind would get it.
#include "cuda/device_support.h"

#include <gtest/gtest.h>

namespace invar {
namespace {

Result<void> refused_driver(int driver, int runtime) { return refuse_driver(driver, runtime); }

TEST(DeviceSupport, SaysInOneSentenceWhatAMachineLacks) {
    const std::pair<Result<void>, const char*> refusals[] = {
        {refused_driver(0, 13000), "this machine has no NVIDIA driver; install one or use --device cpu"},
        {refused_driver(12020, 13000),
         "the NVIDIA driver supports CUDA 12.2, which is older than this program's CUDA 13.0; update it or use "
         "--device cpu"},
        {check_device_index(0, 0), "this machine has no CUDA device; use --device cpu"},
        {check_device_index(2, 2), "there is no CUDA device 2; this machine has 2, numbered from 0"},
        {check_device_index(-1, 2), "there is no CUDA device -1; this machine has 2, numbered from 0"},
        {check_capability(1, "Tesla T4", 75),
         "CUDA device 1 (Tesla T4) has compute capability 7.5, but at least 8.0 is needed; use --device cpu"},
    };
    for (const auto& [refusal, sentence] : refusals) {
        ASSERT_FALSE(refusal.has_value()) << sentence;
        EXPECT_EQ(refusal.error().message, sentence);
    }
    EXPECT_TRUE(check_device_index(1, 2).has_value());
    EXPECT_TRUE(check_capability(0, "A100", 80).has_value());
    EXPECT_TRUE(check_capability(0, "RTX 5090", 120).has_value());
    EXPECT_EQ(cuda_version_text(13020), "13.2");
    std::printf("[device support] %zu refusals are one sentence each\n", std::size(refusals));
}

}  // namespace
}  // namespace invar
