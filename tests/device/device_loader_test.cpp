// Weights on their way to a device: pieces that cut groups and vectors anywhere arrive as the file has them, progress
// is that of the file, and a file that gets shorter meanwhile is one sentence and leaves no memory taken.
#include "load/device_loader.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "device_engine.h"
#include "proof/verify/plan_check.h"

namespace invar {
namespace {

using namespace test;

std::filesystem::path written(FormatId id, const char* name) {
    TinyModel model = tiny("qwen3moe");
    model.matrix_format = id;
    return model.write(fmt::format("{}_{}.gguf", name, format(id).name));
}

TEST(DeviceLoader, BringsWhatTheFileHasWhateverPiecesCut) {
    int64_t entries = 0, formats_seen = 0, calls = 0;
    for (const Format* format : formats()) {
        if (!format->in_gguf()) continue;  // the model is a GGUF file
        const std::filesystem::path path = written(format->id, "device_loader");
        std::vector<std::pair<int64_t, int64_t>> seen;
        EngineSettings settings = on_device(small_settings(path), {});
        const auto opened = Engine::open(settings, [&](int64_t done, int64_t total) {
            if (seen.empty() || seen.back().second == total) return seen.emplace_back(done, total), void();
            seen = {{done, total}};  // the device's weights come after the host's
        });
        ASSERT_TRUE(opened.has_value()) << opened.error().message;
        const Engine& engine = **opened;
        int64_t file_bytes = 0;
        for (const PlanEntry& entry : engine.plan().entries)
            file_bytes += entry.place == Place::device && !entry.alias_of ? entry.file_bytes : 0;
        ASSERT_FALSE(seen.empty());
        EXPECT_EQ(seen.back(), std::pair(file_bytes, file_bytes)) << format->name;
        EXPECT_TRUE(std::is_sorted(seen.begin(), seen.end())) << format->name;
        EXPECT_GT(std::ssize(seen), 20);
        for (const EntryCheck& check : check_entries(engine.plan(), engine.weights(), engine.device())) {
            EXPECT_TRUE(check.recovered) << format->name;
            ++entries;
        }
        calls += std::ssize(seen);
        ++formats_seen;
        std::filesystem::remove(path);
    }
    std::printf("[device loader] %ld formats, %ld entries read back, %ld steps of progress\n", formats_seen, entries,
                calls);
    EXPECT_EQ(formats_seen, 17);  // those that GGUF files have
}

TEST(DeviceLoader, AFileThatGetsShorterIsOneSentence) {
    const std::filesystem::path path = written(FormatId::q8_0, "shorter");
    auto made = open_emulated_device({});
    Device& device = *made;
    const EngineSettings settings = on_device(small_settings(path), {}, make_cuda_accelerator(std::move(made), 0));
    int64_t calls = 0;
    const auto failed = Engine::open(settings, [&](int64_t done, int64_t total) {
        if (++calls == 3) EXPECT_EQ(::truncate(path.c_str(), static_cast<off_t>(total / 2)), 0);
    });
    std::filesystem::remove(path);
    ASSERT_FALSE(failed.has_value());
    EXPECT_GE(calls, 3);
    EXPECT_NE(failed.error().message.find("shorter"), std::string::npos) << failed.error().message;
    EXPECT_EQ(failed.error().message.find('\n'), std::string::npos);
    EXPECT_EQ(emulated_bytes(device), 0);
}

}  // namespace
}  // namespace invar
