// What is recorded does not depend on how it was computed, and recording changes nothing.
#include "proof/record/recorder.h"

#include "arithmetic/softmax.h"
#include "proof/tiny_engine.h"

namespace invar {
namespace {

using test::TinyEngine;

TEST(Recorder, EveryChunkingAndThreadCountGivesTheSameRecording) {
    int64_t values = 0;
    for (const std::string& architecture : test::tiny_architectures()) {
        TinyEngine two(architecture);
        TinyEngine one(architecture, {.threads = 1});
        const std::vector<int32_t> tokens = test::some_tokens(70);  // beyond a page of 64 positions
        StageSelection selection;
        selection.attention_scores = true;
        const Recording whole = test::record(two.runner(), tokens, 64, selection);
        for (const int64_t chunk : {1, 7}) {
            SCOPED_TRACE(fmt::format("{} in chunks of {}", architecture, chunk));
            values += test::equal_values(whole, test::record(two.runner(), tokens, chunk, selection));
            values += test::equal_values(whole, test::record(one.runner(), tokens, chunk, selection));
        }
    }
    EXPECT_GT(values, 10'000'000);
}

TEST(Recorder, ChangesNoLogit) {
    TinyEngine engine("qwen3moe");
    const std::vector<int32_t> tokens = test::some_tokens(70);
    const std::vector<float> plain =
        test::feed_all(engine.runner(), tokens, 64, {}, engine.runner().cache().add_sequence());
    const int32_t sequence = engine.runner().cache().add_sequence();
    Recorder recorder(engine.runner(), sequence, {});
    VerbHook* hooks[] = {&recorder};
    const std::vector<float> recorded = test::feed_all(engine.runner(), tokens, 64, hooks, sequence);
    ASSERT_EQ(plain.size(), 70u * 260);
    ASSERT_EQ(recorded.size(), plain.size());
    EXPECT_EQ(std::memcmp(plain.data(), recorded.data(), plain.size() * 4), 0);
    const Recording recording = recorder.take();
    const StageRecord* logits = recording.find({-1, "logits"});
    ASSERT_NE(logits, nullptr);
    ASSERT_EQ(logits->data.size(), plain.size() * 4);
    EXPECT_EQ(std::memcmp(plain.data(), logits->data.data(), plain.size() * 4), 0);
}

TEST(Recorder, TakesOnlyWhatIsSelected) {
    TinyEngine engine("qwen3moe");
    StageSelection selection;
    selection.stages = {"expert_*", "*norm"};
    selection.layers = {{1, 1}};
    selection.positions = {{3, 4}, {9, 20}};
    const Recording some = test::record(engine.runner(), test::some_tokens(12), 5, selection);
    std::vector<std::string> names;
    for (const StageRecord& stage : some.stages) {
        names.push_back(stage.key.name);
        EXPECT_EQ(stage.key.layer, 1);
        EXPECT_EQ(stage.positions, (std::vector<int64_t>{3, 4, 9, 10, 11}));
    }
    EXPECT_EQ(names, (std::vector<std::string>{"attention_norm", "query_norm", "key_norm", "ffn_norm", "expert_weights",
                                               "expert_ids", "expert_gate", "expert_up", "expert_activation",
                                               "expert_down", "expert_sum"}));
}

TEST(Recorder, RecordsRoutingAsIntegersWithItsMargin) {
    TinyEngine engine("qwen3moe");
    const Recording recording = test::record(engine.runner(), test::some_tokens(20), 20);
    const StageRecord *router = recording.find({0, "router"}), *ids = recording.find({0, "expert_ids"}),
                      *margin = recording.find({0, "routing_margin"}), *weights = recording.find({0, "expert_weights"});
    ASSERT_TRUE(router != nullptr && ids != nullptr && margin != nullptr && weights != nullptr);
    EXPECT_EQ(ids->type, ElementType::i32);
    EXPECT_EQ(ids->shape, (std::vector<int64_t>{2}));
    for (int64_t position = 0; position < 20; ++position) {
        // Independently: the two best of eight logits, and the third.
        std::vector<std::pair<double, int>> ranked;
        double total = 0;
        for (int expert = 0; expert < 8; ++expert) {
            ranked.emplace_back(-router->value(position, expert), expert);
            total += std::exp(router->value(position, expert));
        }
        std::sort(ranked.begin(), ranked.end());
        EXPECT_EQ(ids->value(position, 0), ranked[0].second);
        EXPECT_EQ(ids->value(position, 1), ranked[1].second);
        const double second = std::exp(-ranked[1].first) / total, third = std::exp(-ranked[2].first) / total;
        EXPECT_NEAR(margin->value(position, 0), second - third, 1e-6);
        const double first = std::exp(-ranked[0].first) / total;
        EXPECT_NEAR(weights->value(position, 0), first / (first + second), 1e-6);
    }
}

TEST(Recorder, WhatIsComputedAgainReplacesWhatWasThere) {
    TinyEngine engine("llama");
    EngineRunner& runner = engine.runner();
    const std::vector<int32_t> tokens = test::some_tokens(12);
    const int32_t sequence = runner.cache().add_sequence();
    Recorder recorder(runner, sequence, {});
    VerbHook* hooks[] = {&recorder};
    std::vector<int32_t> other = tokens;
    for (size_t i = 8; i < other.size(); ++i) other[i] = 200;
    test::feed_all(runner, other, 64, hooks, sequence);
    ASSERT_EQ(runner.cache().rewind(sequence, 8), 8);
    const FeedRequest again{
        .sequence = sequence, .start = 8, .tokens = std::span(tokens).subspan(8), .chunk = 64, .all_logits = true};
    ASSERT_TRUE(feed(runner, again, hooks, nullptr));
    EXPECT_GT(test::equal_values(test::record(runner, tokens, 64), recorder.take()), 50'000);
}

}  // namespace
}  // namespace invar
