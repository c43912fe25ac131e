// A device that lacks memory, at each allocation in turn and at each size: one sentence, nothing kept, and the next
// attempt works. Plans that name every byte the device lends, and say which layers fit and why.
#include <gtest/gtest.h>

#include "device_engine.h"
#include "proof/verify/plan_check.h"

namespace invar {
namespace {

using namespace test;

std::filesystem::path golden(const std::string& name) {
    return std::filesystem::path(INVAR_TEST_DATA) / "goldens" / (name + ".gguf");
}

bool is_a_sentence(const std::string& message) {
    return message.size() > 20 && message.find('\n') == std::string::npos && message.back() != '.';
}

TEST(DeviceMemory, RunningOutAtAnyAllocationIsOneSentenceAndLeavesTheDeviceUsable) {
    int64_t allocations = 0, failures = 0;
    {
        Device* device = nullptr;
        auto made = open_emulated_device({});
        device = made.get();
        const auto accelerator = make_cuda_accelerator(std::move(made), 0);
        const auto engine = opened(on_device(small_settings(golden("qwen3moe")), {.layers = 2}, accelerator));
        allocations = emulated_allocations(*device);
    }
    ASSERT_GE(allocations, 3);
    for (int64_t n = 0; n < allocations; ++n) {
        auto made = open_emulated_device({.failing_allocation = n});
        Device& device = *made;
        const auto accelerator = make_cuda_accelerator(std::move(made), 0);
        const EngineSettings settings = on_device(small_settings(golden("qwen3moe")), {.layers = 2}, accelerator);
        const auto failed = Engine::open(settings, nullptr);
        ASSERT_FALSE(failed.has_value()) << n;
        EXPECT_TRUE(is_a_sentence(failed.error().message)) << failed.error().message;
        EXPECT_NE(failed.error().message.find("the emulated device has no"), std::string::npos);
        EXPECT_EQ(emulated_bytes(device), 0) << "what was taken before is given back";
        ++failures;
        const auto engine = opened(settings);  // the allocation after the one that failed
        ASSERT_NE(engine, nullptr);
        EXPECT_EQ(logits_of(*engine, std::vector<int32_t>{1, 2, 3}, 3, 3).size(),
                  3 * static_cast<size_t>(engine->config().vocabulary));
    }
    std::printf("[device memory] %ld allocations failed in turn\n", failures);
}

// A chunk of rows, of which the last ones of every sequence are ranked with as many edits and ranks as there may be.
void largest_ranked_pass(Engine& engine) {
    Batch batch;
    const auto sequences = int64_t{engine.sequences()};
    for (int64_t i = 0; i < sequences; ++i) {
        const int32_t sequence = engine.cache().add_sequence();
        ASSERT_TRUE(engine.cache().reserve(sequence, engine.chunk()));
        const int64_t rows = i == 0 ? engine.chunk() - sequences + 1 : 1;
        for (int64_t position = 0; position < rows; ++position)
            batch.rows.push_back({.token = 1, .sequence = sequence, .position = position});
        batch.logits_rows.push_back(static_cast<int32_t>(batch.size()) - 1);
    }
    Preselection most{.edits = {}, .count = kMostPreselected};
    for (int32_t token = 0; token < kMostLogitEdits; ++token) most.edits.push_back({.token = token});
    const std::vector<Preselection> requests(batch.logits_rows.size(), most);
    for (int pass = 0; pass < 3; ++pass) {  // plain, recorded, replayed
        const auto ranked = engine.evaluate_ranked(batch, requests);
        ASSERT_TRUE(ranked) << ranked.error().message;
        EXPECT_EQ(ranked->size(), 3u);
        EXPECT_EQ(std::ssize(ranked->back().first), std::min<int64_t>(kMostPreselected, engine.config().vocabulary));
    }
}

TEST(DeviceMemory, IsWhatThePlanSays) {
    int64_t splits = 0, ranked = 0;
    for (const char* name : {"qwen3moe", "qwen3", "llama-biases-partial"}) {
        const auto cpu = opened(small_settings(golden(name)));
        for (const Split& split : all_splits(cpu->config())) {
            auto made = open_emulated_device({});
            Device& device = *made;
            const auto accelerator = make_cuda_accelerator(std::move(made), 0);
            const auto engine = opened(on_device(small_settings(golden(name)), split, accelerator));
            EXPECT_EQ(emulated_bytes(device), engine->plan().total_bytes(Place::device)) << name << ", " << split.name;
            int64_t packed = 0;
            for (const PlanEntry& entry : engine->plan().entries) packed += entry.form == StoredForm::device_lanes;
            EXPECT_GT(packed, 0);
            if (engine->ranks_on_device()) largest_ranked_pass(*engine);  // stops where more is taken than planned
            EXPECT_EQ(emulated_bytes(device), engine->plan().total_bytes(Place::device)) << name << ", " << split.name;
            ranked += engine->ranks_on_device();
            ++splits;
        }
    }
    std::printf("[device memory] %ld splits lend as many bytes as planned, %ld of them rank there\n", splits, ranked);
    EXPECT_EQ(ranked, 4);
}

TEST(DeviceMemory, PlanCheckHoldsAndNoticesAFlippedBitOnTheDevice) {
    for (const char* name : {"qwen3moe", "qwen3"}) {
        EngineSettings settings = on_device(small_settings(golden(name)), {.layers = 3});
        const auto checked = check_plan(settings, nullptr);
        ASSERT_TRUE(checked.has_value()) << checked.error().message;
        EXPECT_EQ(checked->differences(), 0) << plan_check_as_text(*checked, true);
        ASSERT_TRUE(checked->device_memory.has_value());
        EXPECT_EQ(checked->device_memory->measured, checked->device_memory->planned);
        EXPECT_NE(plan_check_as_text(*checked, true).find("device_lan"), std::string::npos);
    }
    const auto engine = opened(on_device(small_settings(golden("qwen3")), {.layers = 3}));
    const WeightId query{1, "query"};
    const auto differing_entries = [&] {
        const auto checks = check_entries(engine->plan(), engine->weights(), engine->device());
        return std::count_if(checks.begin(), checks.end(), [](const EntryCheck& check) { return !check.recovered; });
    };
    EXPECT_EQ(differing_entries(), 0);
    std::byte* const place = engine->weights().find(query)->device.get() + 100;  // the emulated device's is the host's
    *place ^= std::byte{1};
    EXPECT_EQ(differing_entries(), 1);
}

TEST(DeviceMemory, OverheadIsALineOfThePlanAndWhatNobodyPlannedIsNoticed) {
    constexpr int64_t kMiB = 1 << 20;
    const auto device_with = [&](int64_t overhead) {
        return emulated({.total_bytes = 1024 * kMiB, .taken_bytes = 100 * kMiB, .overhead_bytes = overhead});
    };
    EngineSettings settings = on_device(small_settings(golden("qwen3")), {.layers = 3}, device_with(24 * kMiB));
    const auto checked = check_plan(settings, nullptr);
    ASSERT_TRUE(checked.has_value()) << checked.error().message;
    const DeviceMemoryCheck& memory = *checked->device_memory;
    EXPECT_EQ(memory.overhead, 24 * kMiB);
    EXPECT_EQ(memory.measured, memory.planned);
    EXPECT_EQ(memory.opened, memory.planned);  // passes take nothing more
    settings.device = device_with(0);
    const auto without = check_plan(settings, nullptr);
    ASSERT_TRUE(without.has_value());
    EXPECT_EQ(memory.planned - without->device_memory->planned, 24 * kMiB);

    settings.device = device_with(24 * kMiB);
    const auto engine = opened(settings);
    const PlanReserve* line = engine->plan().reserve("overhead", Place::device);
    ASSERT_NE(line, nullptr);
    EXPECT_EQ(line->bytes, 24 * kMiB);
    EXPECT_NE(line->reason.find("before that 100.0 of 1024.0 MiB were taken"), std::string::npos) << line->reason;
    EXPECT_NE(engine->plan().placement.find("of 924.0 MiB (free there)"), std::string::npos)
        << engine->plan().placement;

    std::vector<DeviceMemory> others;  // taken while the model is loaded: 9 MiB are more than is tolerated
    const auto takes = [&](int64_t, int64_t) {
        if (others.empty()) others.push_back(*settings.device->allocate(9 * kMiB, "another program"));
    };
    const auto disturbed = check_plan(settings, takes);
    ASSERT_TRUE(disturbed.has_value()) << disturbed.error().message;
    ASSERT_EQ(others.size(), 1u);
    EXPECT_EQ(disturbed->device_memory->measured - disturbed->device_memory->planned, 9 * kMiB);
    EXPECT_FALSE(disturbed->device_memory->within());
}

TEST(DeviceMemory, HoldsAsManyLayersAsFitAndSaysWhyNotMore) {
    const EngineSettings settings = small_settings(golden("qwen3"));
    std::vector<int64_t> needed;  // with the last n layers there
    for (int64_t n = 1; n <= 3; ++n) {
        const auto engine = opened(on_device(settings, {.layers = n}));
        needed.push_back(engine->plan().total_bytes(Place::device));
    }
    EXPECT_LT(needed[0], needed[1]);
    EXPECT_LT(needed[1], needed[2]);
    for (size_t n = 0; n < 3; ++n) {
        // A pass with all layers on the device has the most scratch, and fitting is judged with it.
        EngineSettings automatic = on_device(settings, {});
        automatic.device_memory_bytes = needed[n] + (int64_t{4} << 10);
        const auto engine = opened(automatic);
        ASSERT_NE(engine, nullptr);
        const auto there =
            std::count(engine->plan().layer_places.begin(), engine->plan().layer_places.end(), Place::device);
        EXPECT_EQ(there, std::min<int64_t>(static_cast<int64_t>(n) + 1, 2));
        EXPECT_LE(engine->plan().total_bytes(Place::device), *automatic.device_memory_bytes);
        EXPECT_EQ(engine->plan().device_notes.size(), n == 2 ? 0u : 1u);
        EXPECT_NE(engine->plan().placement.find(" MiB (--gpu-memory)"), std::string::npos) << engine->plan().placement;
        EXPECT_EQ(engine->weights().find({-1, "output_head"})->place, n == 2 ? Place::device : Place::host);
    }
    EngineSettings nothing = on_device(settings, {});
    nothing.device_memory_bytes = 1000;
    const auto refused = Engine::open(nothing, nullptr);
    ASSERT_FALSE(refused.has_value());
    EXPECT_TRUE(is_a_sentence(refused.error().message)) << refused.error().message;
    EngineSettings asked = on_device(settings, {.layers = 3});
    asked.device_memory_bytes = needed[2] - 1;
    const auto too_much = Engine::open(asked, nullptr);
    ASSERT_FALSE(too_much.has_value());
    EXPECT_NE(too_much.error().message.find("does not fit on the device"), std::string::npos);
    EXPECT_NE(too_much.error().message.find(" + kv_cache "), std::string::npos);
    asked.gpu_layers = 0;  // nothing there: the CPU alone
    EXPECT_EQ(opened(asked)->device(), nullptr);
}

}  // namespace
}  // namespace invar
