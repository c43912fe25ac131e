// Every split of a model between the CPU and a device gives the CPU's bits: logits and stages of the golden models, of
// every weight format, alone and beside other sequences; and nothing crosses that a split does not ask for.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <set>

#include "device_engine.h"

namespace invar {
namespace {

using namespace test;

const char* const kGoldens[] = {
    "llama", "llama-biases-partial", "llama-linear", "llama-wide",           "mistral-window", "mixtral",
    "qwen2", "qwen2-yarn",           "qwen3",        "qwen3-partial-linear", "qwen3moe",       "qwen3moe-16"};

TEST(Split, OfEveryGoldenGivesTheLogitsOfTheCpu) {
    int64_t splits = 0, compared = 0;
    for (const char* name : kGoldens) {
        const EngineSettings settings = small_settings(golden(name));
        const auto cpu = opened(settings);
        ASSERT_NE(cpu, nullptr);
        const auto tokens = tokens_of(cpu->config(), 14);
        const std::vector<float> expected = logits_of(*cpu, tokens, 11, 7);
        for (const Split& split : all_splits(cpu->config())) {
            const auto engine = opened(on_device(settings, split));
            ASSERT_NE(engine, nullptr);
            EXPECT_EQ(differing(logits_of(*engine, tokens, 11, 7), expected), 0) << name << ", " << split.name;
            ++splits;
            compared += static_cast<int64_t>(expected.size());
        }
    }
    std::printf("[split] %ld splits of %zu goldens, %ld logits compared\n", splits, std::size(kGoldens), compared);
    EXPECT_EQ(splits, 38);
}

std::filesystem::path tiny_in(const std::string& architecture, FormatId id) {
    TinyModel model = tiny(architecture);
    model.matrix_format = id;
    model.layers = 1;
    return model.write(fmt::format("split_{}_{}.gguf", architecture, format(id).name));
}

TEST(Split, OfEveryWeightFormatGivesTheLogitsOfTheCpu) {
    int64_t formats_seen = 0, compared = 0;
    for (const Format* format : formats()) {
        if (!format->in_gguf()) continue;  // the model is a GGUF file
        const std::filesystem::path path = tiny_in(formats_seen % 2 == 0 ? "qwen3moe" : "llama", format->id);
        const EngineSettings settings = small_settings(path);
        const auto cpu = opened(settings), engine = opened(on_device(settings, {.layers = 2}));
        std::filesystem::remove(path);
        ASSERT_TRUE(cpu != nullptr && engine != nullptr) << format->name;
        const auto tokens = tokens_of(cpu->config(), 12);
        const std::vector<float> expected =
            logits_of(*cpu, tokens, 11, 11);  // a pass of tensor-core tiles, one of lanes
        EXPECT_EQ(differing(logits_of(*engine, tokens, 11, 11), expected), 0) << format->name;
        ++formats_seen;
        compared += static_cast<int64_t>(expected.size());
    }
    std::printf("[split] %ld weight formats, %ld logits compared\n", formats_seen, compared);
    EXPECT_EQ(formats_seen, 17);  // those that GGUF files have
}

TEST(Split, GivesEveryStageOfTheCpu) {
    int64_t values = 0;
    for (const char* name : {"qwen3moe", "qwen2", "mistral-window"}) {
        const EngineSettings settings = small_settings(golden(name));
        const auto cpu = opened(settings);
        EngineRunner cpu_runner(*cpu);
        const auto tokens = tokens_of(cpu->config(), 11);
        const Recording expected = record(cpu_runner, tokens, 9, {.attention_scores = true});
        for (const Split& split : all_splits(cpu->config())) {
            const auto engine = opened(on_device(settings, split));
            EngineRunner runner(*engine);
            const Recording actual = record(runner, tokens, 9, {.attention_scores = true});
            const int64_t equal = equal_values(expected, actual);
            EXPECT_GT(equal, 10'000) << name << ", " << split.name;
            values += equal;
            const auto on_device_stages =
                std::count_if(actual.stages.begin(), actual.stages.end(),
                              [](const StageRecord& stage) { return stage.kernel == "cuda"; });
            EXPECT_GT(on_device_stages, 10) << name << ", " << split.name;
            if (split.layers == 3 && split.experts == ExpertPlace::with_their_layer) {
                EXPECT_EQ(on_device_stages, std::ssize(actual.stages)) << name;
            }
        }
    }
    std::printf("[split] %ld values of stages equal\n", values);
}

TEST(Split, CopiesWhatCrossesAndNothingElse) {
    const EngineSettings settings = small_settings(golden("qwen3moe"));
    const auto cpu = opened(settings);
    const ModelConfig& config = cpu->config();
    const int64_t rows = 9, row = config.width * 4, logits = config.vocabulary * 4;
    const int64_t slots = rows * config.most_experts_per_token();
    const auto crossed = [&](const Split& split) {
        const auto engine = opened(on_device(settings, split));
        EngineRunner runner(*engine);
        const int32_t sequence = engine->cache().add_sequence();
        const auto tokens = tokens_of(config, rows);
        EXPECT_TRUE(feed(runner, {.sequence = sequence, .tokens = tokens, .chunk = rows}, {}, nullptr));
        return std::pair(engine->split_ops()->uploaded_bytes(), engine->split_ops()->downloaded_bytes());
    };
    // Everything on the device: logits of the last row come back.
    EXPECT_EQ(crossed({.layers = 3}), std::pair(int64_t{0}, logits));
    // The last layer there: the residual stream goes over, and the row that the output reads comes back.
    EXPECT_EQ(crossed({.layers = 1}), std::pair(rows * row, row));
    // Experts on the CPU: their input and ids come, what they add goes back, for each of two layers. Weights of the
    // slots too.
    EXPECT_EQ(crossed({.layers = 3, .experts = ExpertPlace::host}),
              std::pair(2 * rows * row, 2 * (rows * row + 2 * slots * 4) + logits));
}

// Overwrites an element of a stage, so that the next verb that reads it makes numbers that are not finite.
class Poison final : public VerbHook {
  public:
    Poison(StageKey key, int64_t row, float value) : key_(std::move(key)), row_(row), value_(value) {}
    void after(const VerbCall& call) override {
        if (call.stage.layer == key_.layer && call.stage.name == key_.name) call.out.host_row(row_)[5] = value_;
    }

  private:
    const StageKey key_;
    const int64_t row_;
    const float value_;
};

TEST(Split, NamesTheFirstNonFiniteNumberOfAPassAsTheCpuDoes) {
    const EngineSettings settings = small_settings(golden("qwen3moe"));
    const auto cpu = opened(settings);
    const auto tokens = tokens_of(cpu->config(), 9);
    const auto error_of = [&](Engine& engine, VerbHook& hook) {
        EngineRunner runner(engine);
        const int32_t sequence = engine.cache().add_sequence();
        VerbHook* hooks[] = {&hook};
        const auto fed = feed(runner, {.sequence = sequence, .tokens = tokens, .chunk = 9}, hooks, nullptr);
        engine.cache().remove_sequence(sequence);
        EXPECT_FALSE(fed.has_value());
        return fed ? std::string() : fed.error().message;
    };
    int64_t compared = 0;
    std::set<std::string> sentences;
    for (const Split& split : all_splits(cpu->config())) {
        const auto engine = opened(on_device(settings, split));
        for (const StageKey& key : {StageKey{-1, "embedding", 1}, StageKey{0, "query", 1}, StageKey{0, "expert_up", 1},
                                    StageKey{0, "residual_after_ffn", 1}, StageKey{1, "attention", 1},
                                    StageKey{1, "ffn_norm", 1}, StageKey{1, "expert_sum", 1}}) {
            for (const float value : {NAN, INFINITY}) {
                Poison poison(key, 8, value);  // the last row: its logits are wanted
                const std::string expected = error_of(*cpu, poison);
                EXPECT_EQ(error_of(*engine, poison), expected) << split.name;
                sentences.insert(expected);
                ++compared;
            }
        }
    }
    std::printf("[split] %ld failures named alike, %zu different sentences\n", compared, sentences.size());
    EXPECT_GE(sentences.size(), 10u);
}

TEST(Split, OfSeveralModelsAndContextsOnOneDeviceDoNotDisturbEachOther) {
    const auto device = emulated();
    struct Side {
        std::unique_ptr<Engine> cpu, engine;
        std::unique_ptr<EngineRunner> cpu_runner, runner;
        std::vector<int32_t> tokens;
        int32_t cpu_sequence = 0, sequence = 0;
    };
    std::vector<Side> sides(3);
    const char* const names[] = {"qwen3moe", "qwen3", "qwen3"};  // two contexts of one model
    for (size_t i = 0; i < sides.size(); ++i) {
        const EngineSettings settings = small_settings(golden(names[i]));
        Side& side = sides[i];
        side.cpu = opened(settings);
        side.engine = opened(on_device(settings, {.layers = static_cast<int64_t>(i) + 1}, device));
        side.cpu_runner = std::make_unique<EngineRunner>(*side.cpu);
        side.runner = std::make_unique<EngineRunner>(*side.engine);
        side.tokens = tokens_of(side.cpu->config(), 12 + static_cast<int64_t>(i));
        side.cpu_sequence = side.cpu->cache().add_sequence();
        side.sequence = side.engine->cache().add_sequence();
    }
    int64_t compared = 0;
    for (int64_t step = 0; step < 12; step += 3) {  // in turns, three tokens each
        for (Side& side : sides) {
            const auto part = std::span(side.tokens).subspan(static_cast<size_t>(step), 3);
            const auto logits = [&](EngineRunner& runner, int32_t sequence) {
                std::vector<float> all;
                const auto fed =
                    feed(runner, {.sequence = sequence, .start = step, .tokens = part, .chunk = 3, .all_logits = true},
                         {}, [&](const Batch&, std::span<const float> rows) { all.assign(rows.begin(), rows.end()); });
                EXPECT_TRUE(fed.has_value());
                return all;
            };
            const auto expected = logits(*side.cpu_runner, side.cpu_sequence);
            EXPECT_EQ(differing(logits(*side.runner, side.sequence), expected), 0);
            compared += static_cast<int64_t>(expected.size());
        }
        if (step == 6) sides.erase(sides.begin());  // one model leaves, the others stay
    }
    std::printf("[split] %ld logits of three engines on one device\n", compared);
}

}  // namespace
}  // namespace invar
