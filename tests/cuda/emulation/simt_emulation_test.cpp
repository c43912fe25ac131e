// The emulation itself: its words against plain loops, and every kind of misuse it must find, each beside the correct
// kernel that it must let pass.
#include <gtest/gtest.h>

#include <functional>
#include <random>
#include <vector>

#include "cuda/simt.h"

namespace invar {
namespace {

using simt::Emulator;
using simt::Global;
using simt::kAllLanes;
using simt::Shared;

// "" or the message of the fault.
std::string run(int threads, const std::function<void()>& kernel, int dynamic_bytes = 0) {
    Emulator emulator;
    emulator.run({.threads = threads, .dynamic_shared_bytes = dynamic_bytes, .name = "test"}, kernel);
    return emulator.fault() ? emulator.fault()->message : "";
}

#define EXPECT_FINDS(expected, ...)                                                       \
    do {                                                                                  \
        const std::string found = (__VA_ARGS__);                                          \
        EXPECT_NE(found.find(expected), std::string::npos) << "found: '" << found << "'"; \
    } while (false)

// Each thread writes its place and reads its neighbour's.
void read_neighbour(bool barrier) {
    SIMT_SHARED(int32_t, values, 64);
    const int i = simt::thread_index();
    values[i] = i;
    if (barrier) simt::sync_block();
    const int32_t neighbour = values[(i + 1) % 64];
    (void)neighbour;
}

TEST(SimtEmulation, FindsAMissingBarrier) {
    EXPECT_EQ(run(64, [] { read_neighbour(true); }), "");
    EXPECT_FINDS("shared memory", run(64, [] { read_neighbour(false); }));
}

TEST(SimtEmulation, FindsAWriteAfterAReadWithoutABarrierBetween) {
    const auto kernel = [](bool barrier) {
        SIMT_SHARED(int32_t, values, 64);
        const int i = simt::thread_index();
        values[i] = i;
        simt::sync_block();
        const int32_t neighbour = values[63 - i];
        if (barrier) simt::sync_block();
        values[i] = neighbour;
    };
    EXPECT_EQ(run(64, [&] { kernel(true); }), "");
    EXPECT_FINDS("race", run(64, [&] { kernel(false); }));
}

TEST(SimtEmulation, ABarrierOfTheWarpOrdersItsLanesOnly) {
    const auto kernel = [](int distance) {
        SIMT_SHARED(int32_t, values, 64);
        const int i = simt::thread_index();
        values[i] = i;
        simt::sync_warp();
        const int32_t other = values[i ^ distance];
        (void)other;
    };
    EXPECT_EQ(run(64, [&] { kernel(1); }), "");
    EXPECT_EQ(run(64, [&] { kernel(16); }), "");
    EXPECT_FINDS("shared memory", run(64, [&] { kernel(32); }));
}

TEST(SimtEmulation, FindsSharedMemoryReadBeforeItIsWritten) {
    EXPECT_FINDS("nobody has written", run(1, [] {
                     SIMT_SHARED(float, values, 4);
                     const float value = values[3];
                     (void)value;
                 }));
}

TEST(SimtEmulation, FindsAccessesOutsideOfArrays) {
    const auto shared = [](int i) {
        SIMT_SHARED(float, first, 4);
        SIMT_SHARED(float, second, 4);
        second[0] = 1.0f;
        first[i] = 1.0f;
    };
    EXPECT_EQ(run(1, [&] { shared(3); }), "");
    EXPECT_FINDS("of a shared array of 16", run(1, [&] { shared(4); }));
    EXPECT_FINDS("of a shared array of 16", run(1, [&] { shared(-1); }));

    std::vector<float> memory(10);
    const Global<float> values = simt::global(memory.data(), 10);
    EXPECT_EQ(run(1, [&] { values[9] = 1.0f; }), "");
    EXPECT_FINDS("element 10 of a global array of 10", run(1, [&] { values[10] = 1.0f; }));
    EXPECT_FINDS("element 10 of a global array of 10", run(1, [&] {
                     const float value = (values + 7)[3];
                     (void)value;
                 }));
    EXPECT_FINDS("element -1", run(1, [&] { (values + 2)[-3] = 0.0f; }));
}

TEST(SimtEmulation, FindsMisalignedVectors) {
    alignas(16) float memory[12] = {};
    const Global<const float> values = simt::global(static_cast<const float*>(memory), 12);
    EXPECT_EQ(run(1, [&] { simt::view<const simt::Words4>(values + 4)[1]; }), "");
    EXPECT_FINDS("not a multiple of 16", run(1, [&] { simt::view<const simt::Words4>(values + 2)[0]; }));
    EXPECT_FINDS("element 3 of a global array of 3", run(1, [&] { simt::view<const simt::Words4>(values)[3]; }));
}

TEST(SimtEmulation, FindsBarriersThatNotAllThreadsReach) {
    EXPECT_FINDS("not all threads reach a barrier", run(64, [] {
                     if (simt::thread_index() < 32) simt::sync_block();
                 }));
    const auto two_barriers = [] {
        if (simt::thread_index() < 32) {
            simt::sync_block();
        } else {
            simt::sync_block();
        }
    };
    EXPECT_FINDS("different barriers", run(64, two_barriers));
}

TEST(SimtEmulation, FindsWrongMasks) {
    EXPECT_EQ(run(32,
                  [] {
                      if (simt::lane_index() < 16) simt::shuffle_xor_among(0x0000FFFFu, 1, 8);
                  }),
              "");
    // Lanes 16 to 31 are named and do something else.
    EXPECT_FINDS("thread 16 has ended", run(32, [] {
                     if (simt::lane_index() < 16) simt::shuffle_xor_among(kAllLanes, 1, 8);
                 }));
    EXPECT_FINDS("does not take part", run(32, [] {
                     if (simt::lane_index() < 16) simt::shuffle_xor_among(kAllLanes, 1, 8);
                     simt::sync_block();
                 }));
    EXPECT_FINDS("not in its own mask", run(32, [] { simt::shuffle_among(0x7FFFFFFFu, 1, 0); }));
    EXPECT_FINDS("reads lane 16, which the mask 0000ffff does not name", run(32, [] {
                     if (simt::lane_index() < 16) simt::shuffle_among(0x0000FFFFu, 1, 16);
                 }));
    EXPECT_FINDS("does not exist", run(16, [] { simt::shuffle(1, 0); }));
    const auto two_places = [] {
        if (simt::lane_index() == 0) {
            simt::shuffle(1, 0);
        } else {
            simt::shuffle(1, 0);
        }
    };
    EXPECT_FINDS("disagree", run(32, two_places));
}

TEST(SimtEmulation, CopiesArriveWhenTheyAreWaitedFor) {
    alignas(16) int32_t memory[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    const Global<const simt::Words4> from =
        simt::view<const simt::Words4>(simt::global(static_cast<const int32_t*>(memory), 8));
    int32_t seen = 0;
    const auto kernel = [&](bool wait) {
        SIMT_SHARED(simt::Words4, to, 2);
        simt::copy_async(to, from);
        simt::commit_copies();
        simt::copy_async(to + 1, from + 1);
        simt::commit_copies();
        if (wait) simt::wait_for_copies<1>();
        seen = simt::view<int32_t>(to)[3];
        simt::wait_for_copies<0>();
        seen += simt::view<int32_t>(to)[7];
    };
    EXPECT_EQ(run(1, [&] { kernel(true); }), "");
    EXPECT_EQ(seen, 12);
    EXPECT_FINDS("nobody has written", run(1, [&] { kernel(false); }));
    EXPECT_FINDS("nobody waited for", run(1, [&] {
                     SIMT_SHARED(simt::Words4, to, 1);
                     simt::copy_async(to, from);
                     simt::commit_copies();
                 }));
}

TEST(SimtEmulation, AtomicsAreNoRaceAmongThemselves) {
    int32_t total = 0;
    const auto kernel = [&](bool barrier) {
        SIMT_SHARED(int32_t, counter, 1);
        if (simt::thread_index() == 0) counter[0] = 5;
        simt::sync_block();
        simt::atomic_add(counter, 2);
        if (barrier) simt::sync_block();
        total = counter[0];
    };
    EXPECT_EQ(run(96, [&] { kernel(true); }), "");
    EXPECT_EQ(total, 5 + 2 * 96);
    EXPECT_FINDS("race", run(96, [&] { kernel(false); }));
}

TEST(SimtEmulation, ShufflesAndVotesMoveWhatTheyShould) {
    std::vector<int32_t> out(64 * 3);
    const Global<int32_t> result = simt::global(out.data(), 192);
    EXPECT_EQ(run(64,
                  [&] {
                      const int i = simt::thread_index();
                      result[i] = simt::shuffle(100 + i, 7);
                      result[64 + i] = simt::shuffle_xor(i, 5);
                      result[128 + i] = static_cast<int32_t>(simt::ballot(i % 3 == 0));
                  }),
              "");
    for (int i = 0; i < 64; ++i) {
        uint32_t votes = 0;
        for (int lane = 0; lane < 32; ++lane) votes |= ((i / 32 * 32 + lane) % 3 == 0 ? 1u : 0u) << lane;
        EXPECT_EQ(out[static_cast<size_t>(i)], 100 + i / 32 * 32 + 7);
        EXPECT_EQ(out[static_cast<size_t>(64 + i)], i ^ 5);
        EXPECT_EQ(static_cast<uint32_t>(out[static_cast<size_t>(128 + i)]), votes);
    }
}

// A 16 x 32 and a 32 x 8 matrix through ldmatrix and mma against three loops. The places of elements are those of the
// PTX ISA: section "Matrix fragments for mma.m16n8k32".
TEST(SimtEmulation, MultipliesMatrices) {
    std::mt19937 random(1);
    int8_t a[16][32], b[8][32];  // b by columns
    for (auto& row : a)
        for (int8_t& value : row) value = static_cast<int8_t>(random());
    for (auto& row : b)
        for (int8_t& value : row) value = static_cast<int8_t>(random());
    int32_t c[16][8] = {};
    const std::string fault = run(32, [&] {
        SIMT_SHARED(simt::Words4, tiles, 32);  // [row % 8 + 8 tile]: tiles of 8 rows x 16 bytes
        const int lane = simt::lane_index();
        simt::Words4 row;
        std::memcpy(&row, a[lane % 16] + 16 * (lane / 16), 16);
        tiles[lane] = row;
        simt::sync_warp();
        uint32_t a_part[4], b_part[2];
        simt::load_matrix(a_part, tiles + lane);
        for (int half = 0; half < 2; ++half) std::memcpy(&b_part[half], b[lane / 4] + 16 * half + 4 * (lane % 4), 4);
        const int32_t start[4] = {7, 7, 7, 7};
        int32_t sums[4];
        simt::mma_s8(sums, a_part, b_part, start);
        for (int i = 0; i < 4; ++i) c[lane / 4 + 8 * (i / 2)][2 * (lane % 4) + i % 2] = sums[i];
    });
    EXPECT_EQ(fault, "");
    for (int row = 0; row < 16; ++row) {
        for (int column = 0; column < 8; ++column) {
            int32_t sum = 7;
            for (int k = 0; k < 32; ++k) sum += a[row][k] * b[column][k];
            EXPECT_EQ(c[row][column], sum) << row << ", " << column;
        }
    }
}

TEST(SimtEmulation, PermutesBytesAndDotsThem) {
    EXPECT_EQ(simt::permute(0x33221100u, 0x77665544u, 0x7520u), 0x77552200u);
    EXPECT_EQ(simt::permute(0x33228100u, 0x77665544u, 0x0009u), 0x000000FFu);  // the sign of byte 1
    EXPECT_EQ(simt::dot4(0x80FF7F01u, 0x7F02FF03u, 10), 10 - 128 * 127 - 2 - 127 + 3);
    EXPECT_EQ(simt::dot4_unsigned(0x80FF7F01u, 0x7F02FF03u, 10), 10 + 128 * 127 + 255 * 2 - 127 + 3);
}

TEST(SimtEmulation, RunsBlocksInEitherOrderAndStopsAtTheFirstFault) {
    std::vector<int> order;
    for (const auto direction : {Emulator::Order::rising, Emulator::Order::falling}) {
        Emulator emulator(direction);
        order.clear();
        emulator.run({.x = 2, .y = 2, .threads = 1},
                     [&] { order.push_back(simt::block_index() + 2 * simt::block_index_y()); });
        const bool rising = direction == Emulator::Order::rising;
        EXPECT_EQ(order, rising ? (std::vector<int>{0, 1, 2, 3}) : (std::vector<int>{3, 2, 1, 0}));
    }
    Emulator emulator;
    emulator.run({.x = 3, .threads = 1, .name = "third"}, [&] {
        if (simt::block_index() == 1) simt::shuffle(1, 0);
    });
    ASSERT_TRUE(emulator.fault().has_value());
    EXPECT_EQ(emulator.fault()->kernel, "third");
    EXPECT_EQ(emulator.blocks_run(), 2);
    emulator.run({.x = 3, .threads = 1}, [] {});
    EXPECT_EQ(emulator.blocks_run(), 2);
}

}  // namespace
}  // namespace invar
