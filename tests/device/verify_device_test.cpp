// `verify` with a device: its paths are compared stage by stage like every other, a fault there is found at its element
// with float64 on the right side, and a device that cannot be opened is a path that was skipped, with its reason.
#include "proof/verify/verify.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "device_engine.h"
#include "proof/verify/verify_report.h"

namespace invar {
namespace {

using namespace test;

VerifySettings settings_for(const std::string& name) {
    VerifySettings settings;
    settings.engine.model = std::filesystem::path(INVAR_TEST_DATA) / "goldens" / (name + ".gguf");
    settings.engine.threads = 2;
    settings.engine.open_device = open_cuda;
    settings.accuracy = false;
    settings.seconds_of_path = 3;
    settings.only = "cuda*";
    return settings;
}

// Moves one element of a stage of the device by some units in the last place.
class Nudge final : public VerbHook {
  public:
    Nudge(StageKey key, int64_t position, int64_t element)
        : key_(std::move(key)), position_(position), element_(element) {}
    void after(const VerbCall& call) override {
        if (call.stage.layer != key_.layer || call.stage.name != key_.name) return;
        for (int64_t i = 0; i < call.rows(); ++i) {
            if (call.row(i).position != position_) continue;
            float& value = call.out.host_row(i * call.slots_of_row())[element_];
            for (int step = 0; step < 2000; ++step) value = std::nextafter(value, INFINITY);
        }
    }

  private:
    const StageKey key_;
    const int64_t position_, element_;
};

TEST(VerifyDevice, ComparesEveryPathOfTheDevice) {
    const Result<VerifyReport> report = verify(settings_for("qwen3moe"));
    ASSERT_TRUE(report) << report.error().message;
    std::set<std::string> names;
    int64_t stages = 0;
    for (const PathResult& path : report->paths) {
        if (!path.name.starts_with("cuda")) continue;
        EXPECT_EQ(path.status, PathStatus::equal) << path.name << ": " << path.reason;
        EXPECT_GT(path.counts.stages, 20) << path.name;
        EXPECT_EQ(path.counts.differing_values, 0);
        stages += path.counts.stages;
        names.insert(path.name);
        EXPECT_EQ(path.note.find("passes replayed") != std::string::npos, path.name == "cuda, recorded passes");
    }
    EXPECT_EQ(names, (std::set<std::string>{"cuda", "cuda, half of the layers", "cuda, experts on the CPU",
                                            "cuda, recorded passes"}));
    std::printf("[verify device] %ld stages equal\n", stages);
}

TEST(VerifyDevice, FindsAFaultAtItsElementAndFloat64SupportsTheCpu) {
    for (const char* name : {"query", "attention", "expert_down"}) {
        VerifySettings settings = settings_for("qwen3moe");
        settings.only = "cuda";
        settings.seconds_of_path = 60;  // position 2 must be reached on a busy machine, too
        const StageKey key{1, name, 1};
        int on_device = 0;  // the fault is also tried on the path that all others are compared with, which is the CPU's
        settings.make_fault = [&](Engine& engine) -> Result<std::unique_ptr<VerbHook>> {
            on_device += engine.device() != nullptr;
            return std::make_unique<Nudge>(key, 2, 7);
        };
        const Result<VerifyReport> report = verify(settings);
        ASSERT_TRUE(report) << report.error().message;
        EXPECT_GT(on_device, 0) << name;
        const PathResult* path = report->first_difference();
        ASSERT_NE(path, nullptr) << name;
        ASSERT_TRUE(path->first.has_value()) << path->reason;
        EXPECT_EQ(path->first->key, key);
        EXPECT_EQ(path->first->position, 2);
        EXPECT_EQ(path->first->element, 7);
        EXPECT_EQ(path->first->kernel, "cuda");
        ASSERT_TRUE(path->first->float64.has_value()) << name;
        EXPECT_EQ(supported_side(*path->first), "expected") << name;
    }
}

TEST(VerifyDevice, SkipsRecordedPassesWhereAFaultIsInjected) {
    VerifySettings settings = settings_for("qwen3");
    settings.only = "cuda, recorded passes";
    settings.make_fault = [&](Engine&) -> Result<std::unique_ptr<VerbHook>> {
        return std::make_unique<Nudge>(StageKey{1, "query", 1}, 2, 7);
    };
    const Result<VerifyReport> report = verify(settings);
    ASSERT_TRUE(report) << report.error().message;
    EXPECT_EQ(report->paths.back().name, "cuda, recorded passes");
    EXPECT_EQ(report->paths.back().status, PathStatus::skipped);
    EXPECT_EQ(report->paths.back().reason, "a recorded pass has no place between its verbs for a fault");
}

TEST(VerifyDevice, SkipsWithTheReasonWhereThereIsNoDevice) {
    VerifySettings settings = settings_for("qwen3");
    settings.only = "scalar, 2 threads, repacked";
    settings.engine.open_device = [](int) -> Result<std::shared_ptr<Accelerator>> {
        return fail("no device, for once");
    };
    Result<VerifyReport> report = verify(settings);
    ASSERT_TRUE(report) << report.error().message;
    EXPECT_EQ(report->paths.back().name, "cuda");
    EXPECT_EQ(report->paths.back().status, PathStatus::skipped);
    EXPECT_EQ(report->paths.back().reason, "no device, for once");
    settings.engine.open_device = nullptr;
    report = verify(settings);
    ASSERT_TRUE(report) << report.error().message;
    EXPECT_EQ(report->paths.back().reason, "this program opens no device");
}

}  // namespace
}  // namespace invar
