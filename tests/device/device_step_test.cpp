// A pass taken apart on the emulated device: every kernel is in a line, calls are those of the model, and what the
// lines multiply and read adds up to what the plan and the geometry say of the whole pass (bench/work.h).
#include "bench/device_step.h"

#include <chrono>
#include <map>

#include "bench/machine_ceilings.h"
#include "device_engine.h"

namespace invar {
namespace {

using namespace test;

double seconds_now() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

std::unique_ptr<Engine> engine_of(const std::string& name, int64_t layers) {
    const auto path = std::filesystem::path(INVAR_TEST_DATA) / "goldens" / (name + ".gguf");
    return opened(on_device(small_settings(path), {.layers = layers}));
}

struct Totals {
    int64_t launches = 0, products = 0, attention = 0, weight_bytes = 0;
    double milliseconds = 0;
    std::map<std::string, int64_t> calls;
};

// Of products, bytes without the activations: [rows, width] of inputs and results are taken off by the caller.
Totals totals_of(const DeviceStep& step) {
    Totals totals;
    for (const StepLine& line : step.lines) {
        totals.launches += line.launches;
        totals.milliseconds += line.milliseconds;
        totals.calls[line.verb] += line.calls;
        EXPECT_FALSE(line.kernels.empty()) << line.verb;
        EXPECT_GE(line.launches, line.calls) << line.verb;
        EXPECT_GT(line.bytes, 0) << line.verb;
        if (line.verb == "attention") totals.attention += line.multiply_adds;
        if (line.verb == "linear" || line.verb == "expert_linear") {
            totals.products += line.multiply_adds;
            totals.weight_bytes += line.bytes;
        }
    }
    return totals;
}

TEST(DeviceStep, LinesAddUpToThePassThatThePlanDescribes) {
    int64_t launches = 0;
    for (const char* name : {"qwen3moe", "qwen3"}) {
        const auto engine = engine_of(name, 3);
        ASSERT_NE(engine, nullptr);
        EngineSubject subject(*engine, engine->ops());
        for (const Work work : {Work{.kind = WorkKind::generation, .tokens = 2, .depth = 9},
                                Work{.kind = WorkKind::prompt, .tokens = 12, .depth = 3}}) {
            const auto measured = measure_step(work, subject, *engine, {.runs = 1, .clock = seconds_now});
            ASSERT_TRUE(measured.has_value()) << measured.error().message;
            const Totals totals = totals_of(*measured);
            const int64_t rows = work.kind == WorkKind::prompt ? 12 : 1;
            EXPECT_EQ(measured->rows, rows);
            EXPECT_EQ(totals.launches, measured->launches);
            EXPECT_NEAR(totals.milliseconds, 1e3 * measured->kernel_seconds, 1e-6);
            const auto survey = PassSurvey::of(engine->config(), engine->plan(), batch_of(work.depth, rows, 1));
            ASSERT_TRUE(survey.has_value()) << survey.error().message;
            const PassCost pass = cost_of(*survey, engine->plan());
            EXPECT_EQ(totals.products, pass.weight_multiply_adds) << name;
            EXPECT_EQ(totals.attention, pass.attention_multiply_adds) << name;
            // Two layers of attention, a norm before each half, one for heads' queries and keys each, and the output's.
            EXPECT_EQ(totals.calls.at("attention"), 2);
            EXPECT_EQ(totals.calls.at("rms_norm"), 9);
            EXPECT_EQ(totals.calls.at("embed"), 1);
            launches += measured->launches;
        }
    }
    std::printf("[device step] %ld kernels in lines that add up\n", launches);
}

// Bytes of a generation step's products: all weights once, experts of one token, inputs and results in binary32.
TEST(DeviceStep, BytesOfProductsAreWeightsAndActivations) {
    const auto engine = engine_of("qwen3moe", 3);
    ASSERT_NE(engine, nullptr);
    EngineSubject subject(*engine, engine->ops());
    const Work work{.kind = WorkKind::generation, .tokens = 1, .depth = 5};
    const auto measured = measure_step(work, subject, *engine, {.runs = 1, .clock = seconds_now});
    ASSERT_TRUE(measured.has_value()) << measured.error().message;
    const ModelConfig& config = engine->config();
    int64_t expected = 0;
    for (const PlanEntry& entry : engine->plan().entries) {
        const int64_t columns = entry.shape.back(), used = config.most_experts_per_token();
        const bool lookup = entry.id.role == "token_embedding";  // its alias is the head, where it has one
        const int64_t rows = entry.shape.size() > 1 ? entry.shape[entry.shape.size() - 2] : 0;
        if (entry.kind == WeightShape::stack) {
            expected += entry.bytes / config.most_experts() * used + used * rows * 4;
            if (entry.id.role == "expert_down") expected += used * columns * 4;
            if (entry.id.role == "expert_gate") expected += columns * 4;  // one input for gate and up
        } else if (entry.kind == WeightShape::matrix && !lookup) {
            expected += entry.bytes + rows * 4;
            const bool shared = entry.id.role == "key" || entry.id.role == "value";  // the query's input
            if (!shared) expected += columns * 4;
        }
    }
    EXPECT_EQ(totals_of(*measured).weight_bytes, expected);
}

TEST(DeviceStep, OfASplitModelHasTheDevicesVerbsAlone) {
    const auto whole = engine_of("qwen3", 3), half = engine_of("qwen3", 1);
    ASSERT_TRUE(whole != nullptr && half != nullptr);
    EXPECT_TRUE(device_does_all(whole->plan()));
    EXPECT_FALSE(device_does_all(half->plan()));
    EngineSubject subject(*half, half->ops());
    const auto measured =
        measure_step({.kind = WorkKind::generation, .tokens = 1}, subject, *half, {.runs = 1, .clock = seconds_now});
    ASSERT_TRUE(measured.has_value()) << measured.error().message;
    const Totals totals = totals_of(*measured);
    EXPECT_EQ(totals.calls.at("attention"), 1);
    EXPECT_EQ(totals.calls.count("embed"), 0u);
}

}  // namespace
}  // namespace invar
