// Replay names the verb that is wrong, where a plain diff names everything behind it.
#include "proof/record/replay.h"

#include <cmath>

#include "proof/reference64/reference64.h"
#include "proof/tiny_engine.h"

namespace invar {
namespace {

using test::TinyEngine;

// Changes one element of one stage at one position by a small share.
class Spoil final : public VerbHook {
  public:
    Spoil(StageKey key, int64_t position) : key_(std::move(key)), position_(position) {}
    void after(const VerbCall& call) override {
        if (call.stage.layer != key_.layer || call.stage.name != key_.name) return;
        for (int64_t i = 0; i < call.rows(); ++i) {
            if (call.row(i).position != position_) continue;
            ++applied;
            if (call.verb == Verb::route) {
                int32_t& expert = call.slots.experts[i * call.slots.experts_per_row];
                expert = expert == 7 ? 5 : expert + 1;
            } else if (call.verb == Verb::store_kv) {
                std::byte* values =
                    call.cache->values(key_.layer, call.cache->pages_of(call.row(i).sequence, key_.layer)[0], 0);
                values[position_ * call.cache->layers()[0].value_width * 2] ^= std::byte{4};
            } else {
                float& value = call.out.host_row(i * call.slots_of_row())[3];
                value = value * 1.001f + 1e-4f;
            }
        }
    }
    int applied = 0;

  private:
    StageKey key_;
    int64_t position_;
};

std::vector<std::string> failed_stages(const RecordingComparison& comparison) {
    std::vector<std::string> names;
    for (const StageComparison& stage : comparison.stages) {
        if (is_failure(stage.outcome)) names.push_back(to_string(stage.key));
    }
    return names;
}

std::vector<std::string> failures(ModelRunner& runner, const Recording& recording, Force force,
                                  std::vector<VerbHook*> before) {
    const auto result = replay(runner, {recording, force, 7, std::move(before)}, {});
    EXPECT_TRUE(result) << result.error().message;
    return result ? failed_stages(result->comparison) : std::vector<std::string>();
}

TEST(Replay, OfTheSameModelDiffersNowhere) {
    for (const std::string& architecture : test::tiny_architectures()) {
        TinyEngine engine(architecture);
        const Recording recording = test::record(engine.runner(), test::some_tokens(70), 64);
        for (const Force force : {Force::nothing, Force::routing, Force::all}) {
            const auto result = replay(engine.runner(), {recording, force, 64}, {});
            ASSERT_TRUE(result) << result.error().message;
            EXPECT_EQ(result->comparison.failures(), 0) << architecture;
            EXPECT_TRUE(result->comparison.complete());
            EXPECT_EQ(result->comparison.differing, 0);
            EXPECT_GT(result->comparison.values, 500'000);
            if (force == Force::all) {
                EXPECT_GT(result->forced_rows, 70 * 2 * 15);
            } else {
                const bool routed = force == Force::routing && architecture == "qwen3moe";
                EXPECT_EQ(result->forced_rows, routed ? 2 * 70 : 0);
            }
        }
    }
}

TEST(Replay, NamesTheVerbThatIsWrongAndNothingBehindIt) {
    TinyEngine engine("qwen3moe");
    EngineRunner& runner = engine.runner();
    const Recording good = test::record(runner, test::some_tokens(20), 20);
    int places = 0, painted = 0;
    for (const StageRecord& stage : good.stages) {
        const std::string& name = stage.key.name;
        // These are no results of a verb of their own: route and store_kv make them.
        if (name == "router_probabilities" || name == "expert_weights" || name == "routing_margin" ||
            name == "expert_ids" || name == "key_stored" || name == "value_stored")
            continue;
        Spoil spoil(stage.key, 4);
        SCOPED_TRACE(to_string(stage.key));
        const std::vector<std::string> replayed = failures(runner, good, Force::all, {&spoil});
        EXPECT_EQ(spoil.applied, 1);
        EXPECT_EQ(replayed, std::vector<std::string>{to_string(stage.key)});
        const std::vector<std::string> plain = failures(runner, good, Force::nothing, {&spoil});
        ASSERT_FALSE(plain.empty());
        EXPECT_EQ(plain.front(), to_string(stage.key));
        painted += static_cast<int>(plain.size());
        ++places;
    }
    EXPECT_EQ(places, 2 * 19 + 4);
    std::printf("[replay] %d places: 1 stage named each; a plain diff names %d in all\n", places, painted);
    EXPECT_GT(painted, places * 10);
}

TEST(Replay, TellsASwappedExpertFromAWrongOne) {
    TinyEngine engine("qwen3moe");
    EngineRunner& runner = engine.runner();
    const Recording good = test::record(runner, test::some_tokens(20), 20);
    Spoil swapped({1, "routing"}, 4);
    const std::vector<std::string> ids = {"layer.1.expert_ids"};
    EXPECT_EQ(failures(runner, good, Force::all, {&swapped}), ids);
    EXPECT_EQ(failures(runner, good, Force::routing, {&swapped}), ids) << "the experts themselves are right";
    EXPECT_GT(failures(runner, good, Force::nothing, {&swapped}).size(), 6u);
    Spoil wrong({1, "expert_up"}, 4);
    EXPECT_GT(failures(runner, good, Force::routing, {&wrong}).size(), 4u);
    EXPECT_EQ(failures(runner, good, Force::all, {&wrong}), std::vector<std::string>{"layer.1.expert_up"});
}

TEST(Replay, ForcesWhatTheCacheHolds) {
    TinyEngine engine("llama");
    EngineRunner& runner = engine.runner();
    const Recording good = test::record(runner, test::some_tokens(20), 20);
    Spoil spoil({1, "kv_stored"}, 4);
    EXPECT_EQ(failures(runner, good, Force::all, {&spoil}), std::vector<std::string>{"layer.1.value_stored"});
    const std::vector<std::string> plain = failures(runner, good, Force::nothing, {&spoil});
    ASSERT_GT(plain.size(), 8u);
    EXPECT_EQ(plain[1], "layer.1.attention");
}

TEST(Replay, OfTheFloat64ReferenceShowsEachVerbsOwnErrorOnly) {
    TinyEngine engine("qwen3moe");
    const std::filesystem::path path = test::tiny("qwen3moe").write("replay_reference.gguf");
    const auto reference = Reference64::open({.model = path, .threads = 2, .context = 192, .chunk = 64});
    ASSERT_TRUE(reference) << reference.error().message;
    const Recording exact = test::record(**reference, test::some_tokens(20), 20);
    std::filesystem::remove(path);
    EXPECT_EQ(exact.find({0, "query"})->type, ElementType::f64);
    const auto result = replay(engine.runner(), {exact, Force::all, 20}, {});
    ASSERT_TRUE(result) << result.error().message;
    double worst = 0;
    for (const StageComparison& stage : result->comparison.stages) {
        EXPECT_NE(stage.outcome, StageOutcome::mismatch) << to_string(stage.key) << " " << stage.note;
        EXPECT_NE(stage.outcome, StageOutcome::non_finite) << to_string(stage.key);
        if (stage.key.name == "expert_ids") {
            EXPECT_EQ(stage.outcome, StageOutcome::equal);
        }
        // The cache is binary16: 2^-11 at most; all else is binary32.
        const bool stored = stage.key.name == "key_stored" || stage.key.name == "value_stored";
        const bool attended = stage.key.name == "attention";
        EXPECT_LT(stage.figures.relative_rms, stored || attended ? 5e-4 : 5e-6) << to_string(stage.key);
        if (!stored && !attended) worst = std::max(worst, stage.figures.relative_rms);
    }
    EXPECT_GT(worst, 1e-9);
}

TEST(Replay, RefusesWhatCannotBeReplayed) {
    TinyEngine engine("llama");
    Recording recording = test::record(engine.runner(), test::some_tokens(5), 5);
    Recording other = recording;
    other.metadata["architecture"] = "qwen3moe";
    EXPECT_EQ(replay(engine.runner(), {other}, {}).error().message,
              "the recording is of another model, of architecture 'qwen3moe' and not 'llama'; replay it on the model "
              "that it was recorded from");
    other.metadata["architecture"] = "llama";
    EXPECT_TRUE(replay(engine.runner(), {other}, {}));
    other.stages.back().key.layer = 2;
    EXPECT_EQ(replay(engine.runner(), {other}, {}).error().message,
              "the recording is of another model: it has layer 2, but the last layer here is 1; replay it on the model "
              "that it was recorded from");
    other = recording;
    for (StageRecord& stage : other.stages) {
        if (stage.key.name == "embedding") stage.shape = {128};
    }
    EXPECT_EQ(replay(engine.runner(), {other}, {}).error().message,
              "the recording is of another model: its embeddings have 128 numbers, but here 256; replay it on the "
              "model that it was recorded from");
    recording.tokens[2] = 260;
    EXPECT_EQ(replay(engine.runner(), {recording}, {}).error().message,
              "the recording has token 260, but the model knows 260 tokens: it is of another model");
    recording.tokens.clear();
    EXPECT_EQ(replay(engine.runner(), {recording}, {}).error().message,
              "the recording has no tokens, so nothing can be run on them");
    recording.tokens = test::some_tokens(500);
    EXPECT_EQ(replay(engine.runner(), {recording}, {}).error().message,
              "the recording has 500 tokens, but the context holds 192; give --context 500");
}

TEST(Replay, ExpertIdsThatTheModelLacksAreNotForced) {
    TinyEngine engine("qwen3moe");
    Recording recording = test::record(engine.runner(), test::some_tokens(5), 5);
    for (StageRecord& stage : recording.stages) {
        if (stage.key.name != "expert_ids") continue;
        const int32_t id = 1'000'000;
        std::memcpy(stage.data.data(), &id, sizeof id);
    }
    const auto result = replay(engine.runner(), {recording}, {});
    ASSERT_TRUE(result) << result.error().message;
    EXPECT_EQ(failed_stages(result->comparison),
              (std::vector<std::string>{"layer.0.expert_ids", "layer.1.expert_ids"}));
}

}  // namespace
}  // namespace invar
