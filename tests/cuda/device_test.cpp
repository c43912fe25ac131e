// A device's copies in pieces, its timer and its probes, on whichever device is linked.
#include "cuda/device.h"

#include <gtest/gtest.h>

#include <vector>

#include "cuda/probes.h"

namespace invar {
namespace {

TEST(CudaDevice, FilledUploadsArriveWholeWhateverTheirSize) {
    const auto device = Device::open(0);
    ASSERT_TRUE(device.has_value()) << device.error().message;
    int64_t pieces = 0;
    for (const int64_t bytes : {int64_t{0}, int64_t{1}, int64_t{4095}, int64_t{4096}, int64_t{4097}, int64_t{50'001}}) {
        const auto memory = (*device)->allocate(bytes + 1, "a test");
        ASSERT_TRUE(memory.has_value());
        int64_t next = 0;
        const auto filled =
            (*device)->upload_filled(memory->get(), bytes, [&](int64_t first, std::span<std::byte> piece) {
                EXPECT_EQ(first, next);
                next += static_cast<int64_t>(piece.size());
                for (size_t i = 0; i < piece.size(); ++i)
                    piece[i] = static_cast<std::byte>((first + static_cast<int64_t>(i)) * 31 % 251);
                ++pieces;
                return Result<void>();
            });
        ASSERT_TRUE(filled.has_value());
        EXPECT_EQ(next, bytes);
        std::vector<std::byte> arrived(static_cast<size_t>(bytes));
        ASSERT_TRUE((*device)->download(arrived.data(), memory->get(), bytes).has_value());
        int64_t wrong = 0;
        for (int64_t i = 0; i < bytes; ++i)
            wrong += arrived[static_cast<size_t>(i)] != static_cast<std::byte>(i * 31 % 251) ? 1 : 0;
        EXPECT_EQ(wrong, 0) << bytes << " bytes";
    }
    EXPECT_GE(pieces, 5);
}

TEST(CudaDevice, AFillThatFailsEndsTheUpload) {
    const auto device = Device::open(0);
    ASSERT_TRUE(device.has_value()) << device.error().message;
    const auto memory = (*device)->allocate(10'000, "a test");
    ASSERT_TRUE(memory.has_value());
    int calls = 0;
    const auto filled = (*device)->upload_filled(memory->get(), 10'000, [&](int64_t, std::span<std::byte>) {
        ++calls;
        return Result<void>(fail("the file is shorter than it was"));
    });
    ASSERT_FALSE(filled.has_value());
    EXPECT_EQ(filled.error().message, "the file is shorter than it was");
    EXPECT_EQ(calls, 1);
}

TEST(CudaDevice, NothingIsCopiedWhileAPassIsRecorded) {
    const auto device = Device::open(0);
    ASSERT_TRUE(device.has_value()) << device.error().message;
    const auto memory = (*device)->allocate(16, "a test");
    ASSERT_TRUE(memory.has_value());
    int32_t number = 0;
    ASSERT_TRUE((*device)->begin_recording().has_value());
    EXPECT_FALSE((*device)->upload(memory->get(), &number, 4).has_value());
    EXPECT_FALSE((*device)->download(&number, memory->get(), 4).has_value());
    const auto graph = (*device)->end_recording();
    ASSERT_TRUE(graph.has_value());
    EXPECT_EQ((*graph)->launches(), 0);
    EXPECT_TRUE((*device)->upload(memory->get(), &number, 4).has_value());
}

// The probes check their own results; here that they count what they do.
TEST(CudaDevice, ProbesCountTheirWork) {
    const auto device = Device::open(0);
    ASSERT_TRUE(device.has_value()) << device.error().message;
    auto probes = DeviceProbes::create(**device, {.copy_bytes = 40'000, .rounds = 3, .runs = 2});
    ASSERT_TRUE(probes.has_value()) << probes.error().message;
    const auto probe = probes->measure();
    ASSERT_TRUE(probe.has_value()) << probe.error().message;
    EXPECT_EQ(probe->copied_bytes, 80'000);
    EXPECT_EQ(probe->read_bytes, 40'000);
    const auto facts = (*device)->facts();
    ASSERT_TRUE(facts.has_value());
    EXPECT_EQ(probe->multiply_adds, 4096.0 * 8 * 3 * 8 * 4 * facts->multiprocessors);
    EXPECT_GT(probe->copied_bytes_per_second(), 0);
    EXPECT_GT(probe->read_bytes_per_second(), 0);
    EXPECT_GT(probe->multiply_adds_per_second(), 0);
}

}  // namespace
}  // namespace invar
