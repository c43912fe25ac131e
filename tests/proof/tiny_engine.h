// Tiny random models opened as engines, for the tests of src/proof.
#pragma once

#include <gtest/gtest.h>

#include "engine/engine.h"
#include "engine/engine_settings.h"
#include "models/tiny_model.h"
#include "proof/record/model_runner.h"
#include "proof/record/recorder.h"

namespace invar::test {

// A model file that goes with the test.
class TinyEngine {
  public:
    explicit TinyEngine(const std::string& architecture, EngineSettings settings = {}) {
        static int count = 0;
        path_ = tiny(architecture).write(fmt::format("proof_{}_{}.gguf", architecture, count++));
        settings.model = path_;
        if (settings.threads == 0) settings.threads = 2;
        settings.context = 192;
        settings.chunk = 64;
        settings.logits_rows = 64;
        settings.sequences = 3;
        auto opened = Engine::open(settings, nullptr);
        CHECK(opened.has_value(), "tiny models open");
        engine_ = std::move(*opened);
        runner_ = std::make_unique<EngineRunner>(*engine_);
    }
    ~TinyEngine() { std::filesystem::remove(path_); }
    TinyEngine(const TinyEngine&) = delete;
    TinyEngine& operator=(const TinyEngine&) = delete;

    EngineRunner& runner() { return *runner_; }
    Engine& engine() { return *engine_; }

  private:
    std::filesystem::path path_;
    std::unique_ptr<Engine> engine_;
    std::unique_ptr<EngineRunner> runner_;
};

// n tokens of a vocabulary of 260, the same every time.
inline std::vector<int32_t> some_tokens(int64_t count) {
    std::vector<int32_t> tokens;
    for (int64_t i = 0; i < count; ++i) tokens.push_back(static_cast<int32_t>((i * 97 + 31) % 257));
    return tokens;
}

// Feeds the tokens to a new sequence with these hooks; its logits, [tokens, vocabulary].
inline std::vector<float> feed_all(ModelRunner& runner, std::span<const int32_t> tokens, int64_t chunk,
                                   std::span<VerbHook* const> hooks, int32_t sequence) {
    std::vector<float> logits;
    const FeedRequest request{.sequence = sequence, .start = 0, .tokens = tokens, .chunk = chunk, .all_logits = true};
    const auto fed = feed(runner, request, hooks, [&](const Batch&, std::span<const float> rows) {
        logits.insert(logits.end(), rows.begin(), rows.end());
    });
    EXPECT_TRUE(fed) << fed.error().message;
    return logits;
}

inline Recording record(ModelRunner& runner, std::span<const int32_t> tokens, int64_t chunk,
                        StageSelection selection = {}, std::vector<VerbHook*> before = {}) {
    const int32_t sequence = runner.cache().add_sequence();
    Recorder recorder(runner, sequence, std::move(selection));
    before.push_back(&recorder);
    feed_all(runner, tokens, chunk, before, sequence);
    runner.cache().remove_sequence(sequence);
    Recording recording = recorder.take();
    recording.tokens.assign(tokens.begin(), tokens.end());
    return recording;
}

// A number of two that are equal, stage by stage, bit for bit; -1 and a failure where they are not.
inline int64_t equal_values(const Recording& a, const Recording& b) {
    EXPECT_EQ(a.stages.size(), b.stages.size());
    if (a.stages.size() != b.stages.size()) return -1;
    int64_t values = 0;
    for (size_t i = 0; i < a.stages.size(); ++i) {
        const StageRecord &left = a.stages[i], &right = b.stages[i];
        const std::string name = to_string(left.key);
        EXPECT_EQ(name, to_string(right.key));
        EXPECT_EQ(left.verb, right.verb) << name;
        EXPECT_EQ(left.type, right.type) << name;
        EXPECT_EQ(left.shape, right.shape) << name;
        EXPECT_EQ(left.positions, right.positions) << name;
        EXPECT_TRUE(left.data == right.data) << name;
        values += left.width() * static_cast<int64_t>(left.positions.size());
    }
    return values;
}

}  // namespace invar::test
