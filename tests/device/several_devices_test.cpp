// Several devices in one thread and one device in several threads: each call is for its own device, whatever was called
// before; passes in turns give the bits of the CPU; memory is counted apart. The emulated device has a current device
// for each thread, like CUDA's runtime, and refuses a call that was meant for another.
#include <thread>

#include "cuda/device_implementation.h"
#include "device_engine.h"

namespace invar {
namespace {

using namespace test;

// An engine on a device of its own, beside one on the CPU alone.
struct Side {
    Device* device = nullptr;
    std::unique_ptr<Engine> cpu, engine;
    std::vector<int32_t> tokens;
    int32_t cpu_sequence = 0, sequence = 0;

    Side(const char* name, int index) {
        auto made = open_emulated_device({.index = index});
        device = made.get();
        const EngineSettings settings = small_settings(golden(name));
        cpu = opened(settings);
        engine = opened(on_device(settings, {.layers = 3}, make_cuda_accelerator(std::move(made), index)));
        tokens = tokens_of(cpu->config(), 12);
        cpu_sequence = cpu->cache().add_sequence();
        sequence = engine->cache().add_sequence();
    }
    // Tokens [step, step + 3) on both; differing logits.
    int64_t run(int64_t step, int64_t& compared) {
        const auto part = std::span(tokens).subspan(static_cast<size_t>(step), 3);
        const auto logits = [&](Engine& on, int32_t of_sequence) {
            EngineRunner runner(on);
            std::vector<float> all;
            const auto fed =
                feed(runner, {.sequence = of_sequence, .start = step, .tokens = part, .chunk = 3, .all_logits = true},
                     {}, [&](const Batch&, std::span<const float> rows) { all.assign(rows.begin(), rows.end()); });
            EXPECT_TRUE(fed.has_value()) << (fed ? "" : fed.error().message);
            return all;
        };
        const std::vector<float> expected = logits(*cpu, cpu_sequence);
        compared += static_cast<int64_t>(expected.size());
        return differing(logits(*engine, sequence), expected);
    }
};

TEST(SeveralDevices, InOneThreadComputeInTurnsAndCountTheirMemoryApart) {
    Side first("qwen3moe", 0), second("qwen3", 1);
    EXPECT_EQ(first.engine->device()->facts()->index, 0);
    EXPECT_EQ(second.engine->device()->facts()->index, 1);
    int64_t compared = 0;
    for (int64_t step = 0; step < 12; step += 3) {
        for (Side* side : {&first, &second}) EXPECT_EQ(side->run(step, compared), 0) << step;
    }
    for (const Side* side : {&first, &second})
        EXPECT_EQ(emulated_bytes(*side->device), side->engine->plan().total_bytes(Place::device));
    EXPECT_NE(emulated_bytes(*first.device), emulated_bytes(*second.device));
    const int64_t before = emulated_bytes(*first.device);
    second.engine.reset();  // its memory goes back to its own device, and the other goes on
    EXPECT_EQ(emulated_bytes(*first.device), before);
    std::printf("[several devices] %ld logits of two devices in turns\n", compared);
    EXPECT_EQ(compared, 4 * 3 * (first.cpu->config().vocabulary + second.cpu->config().vocabulary));
}

TEST(SeveralDevices, ADeviceServesThreadsThatUsedAnotherBefore) {
    Side first("qwen3moe", 0), second("qwen3", 1);
    int64_t compared = 0, wrong = 0;
    wrong += first.run(0, compared);
    // A new thread has no current device; then it has the other one.
    std::thread([&] {
        wrong += first.run(3, compared);
        wrong += second.run(0, compared);
        wrong += first.run(6, compared);
    }).join();
    wrong += second.run(3, compared);
    EXPECT_EQ(wrong, 0);
    std::printf("[several devices] %ld logits from two threads\n", compared);
}

// Otherwise the tests above would pass whatever the current device is.
TEST(SeveralDevices, ACallForAnotherThanTheCurrentDeviceIsNoticed) {
    const auto first = open_emulated_device({.index = 0}), second = open_emulated_device({.index = 1});
    ASSERT_TRUE(first->wait().has_value());
    ASSERT_TRUE(second->wait().has_value());  // now the second is current
    const auto refused = first->implementation().wait();
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(refused.error().message, "emulated device 0 was called while another is the thread's current one");
    EXPECT_FALSE(first->implementation().allocate(16, "a test").has_value());
    EXPECT_FALSE(first->implementation().facts().has_value());
    (void)first->implementation().stream();  // a launch is noticed by the next wait
    EXPECT_FALSE(first->wait().has_value());
    EXPECT_TRUE(second->wait().has_value());
}

}  // namespace
}  // namespace invar
