// Every family of tests/data/goldens_hf as a whole model on the emulated device: the CPU's bits for splits between the
// two, so also for shared keys and values, states of recurrences and latent attention whose layers lie apart; and every
// stage of a model that is wholly there. Decoders get a prompt in pieces and then single tokens, encoders a text.
#include <gtest/gtest.h>

#include <set>

#include "device_engine.h"
#include "proof/golden.h"

namespace invar {
namespace {

using namespace test;

// GGUF files, and the directories that have no such twin.
std::vector<std::filesystem::path> families() {
    std::set<std::filesystem::path> found;
    for (const auto& entry : std::filesystem::directory_iterator(kGoldens)) {
        const std::filesystem::path& path = entry.path();
        const bool alone = entry.is_directory() && !std::filesystem::exists(path.string() + ".gguf");
        if (alone || path.extension() == ".gguf") found.insert(path);
    }
    return {found.begin(), found.end()};
}

EngineSettings settings_of(const std::filesystem::path& model) {
    EngineSettings settings = small_settings(model);
    settings.context = 32;  // as the goldens were made: some have no more learned positions
    return settings;
}

constexpr int64_t kTokens = 13;

// Where attention sees both ways, a text is one pass.
std::vector<float> results_of(Engine& engine, std::span<const int32_t> tokens) {
    const bool text = engine.config().result == ModelResult::hidden;
    return logits_of(engine, tokens, text ? kTokens : 11, text ? kTokens : 7);
}

// One layer on the device, half of them, all, and all but the experts.
std::vector<Split> some_splits(const ModelConfig& config) {
    const auto layers = static_cast<int64_t>(config.layers.size());
    std::vector<Split> splits = {
        {.name = "1", .layers = 1}, {.name = "half", .layers = layers / 2 + 1}, {.name = "all", .layers = layers + 1}};
    if (config.most_experts() > 0)
        splits.push_back({.name = "all but the experts", .layers = layers + 1, .experts = ExpertPlace::host});
    return splits;
}

TEST(DeviceFamilies, SplitsGiveTheResultsOfTheCpu) {
    int64_t models = 0, encoders = 0, splits = 0, compared = 0;
    for (const std::filesystem::path& model : families()) {
        const EngineSettings settings = settings_of(model);
        const auto cpu = opened(settings);
        ASSERT_NE(cpu, nullptr) << model;
        const auto tokens = tokens_of(cpu->config(), kTokens);
        const std::vector<float> expected = results_of(*cpu, tokens);
        const bool encoder = cpu->config().result == ModelResult::hidden;
        ASSERT_EQ(std::ssize(expected), kTokens * (encoder ? cpu->config().width : cpu->config().vocabulary)) << model;
        for (const Split& split : some_splits(cpu->config())) {
            const auto engine = opened(on_device(settings, split));
            ASSERT_NE(engine, nullptr) << model << ", " << split.name;
            EXPECT_EQ(differing(results_of(*engine, tokens), expected), 0) << model << ", " << split.name;
            ++splits;
            compared += std::ssize(expected);
        }
        ++models;
        encoders += encoder;
    }
    std::printf("[families] %ld splits of %ld models, %ld of them encoders: %ld results compared\n", splits, models,
                encoders, compared);
    EXPECT_GE(models, 71);
    EXPECT_EQ(encoders, 4);
    EXPECT_GE(splits, 3 * models);
}

TEST(DeviceFamilies, AModelThatIsWhollyThereMakesEveryStageThereAndTheStagesAreTheCpus) {
    int64_t stages = 0, values = 0;
    std::set<std::string> verbs;
    for (const std::filesystem::path& model : families()) {
        const EngineSettings settings = settings_of(model);
        const auto cpu = opened(settings), engine = opened(on_device(settings, {}));
        ASSERT_TRUE(cpu != nullptr && engine != nullptr) << model;
        const bool text = cpu->config().result == ModelResult::hidden;
        EngineRunner cpu_runner(*cpu), runner(*engine);
        const auto tokens = tokens_of(cpu->config(), kTokens);
        const int64_t chunk = text ? kTokens : 9;
        const Recording expected = record(cpu_runner, tokens, chunk, {.attention_scores = true});
        const Recording actual = record(runner, tokens, chunk, {.attention_scores = true});
        const int64_t equal = equal_values(expected, actual);
        EXPECT_GT(equal, 2'000) << model;
        values += equal;
        for (const StageRecord& stage : actual.stages) {
            EXPECT_EQ(stage.kernel, "cuda") << model << ", " << to_string(stage.key);
            verbs.insert(stage.verb);
            ++stages;
        }
    }
    std::printf("[families] %ld stages of %zu verbs, %ld values compared\n", stages, verbs.size(), values);
    EXPECT_EQ(verbs.size(), kVerbs);
}

}  // namespace
}  // namespace invar
