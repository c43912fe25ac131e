// Recordings and replays of models with recurrences: every chunking records the same bits, a replay finds nothing, a
// prefix that is cut and computed again is the same, and a state that is not reset shows where it is first read.
#include <gtest/gtest.h>

#include <map>

#include "engine/engine.h"
#include "engine/engine_settings.h"
#include "proof/record/replay.h"
#include "proof/tiny_engine.h"

namespace invar {
namespace {

struct Recurrent {
    explicit Recurrent(const std::string& model) {
        EngineSettings settings{.model = std::filesystem::path(INVAR_TEST_DATA) / "goldens_hf" / model};
        settings.threads = 2;
        settings.context = 192;
        settings.chunk = 64;
        settings.sequences = 3;
        settings.logits_rows = 64;
        auto opened = Engine::open(settings, nullptr);
        CHECK(opened.has_value(), "golden models open");
        engine = std::move(*opened);
        runner = std::make_unique<EngineRunner>(*engine);
    }
    std::unique_ptr<Engine> engine;
    std::unique_ptr<EngineRunner> runner;
};

std::vector<int32_t> tokens_of(int64_t count, int32_t seed = 0) {
    std::vector<int32_t> tokens;
    for (int64_t i = 0; i < count; ++i) tokens.push_back(static_cast<int32_t>((i * 17 + i * i * 5 + seed) % 39 + 1));
    return tokens;
}

TEST(RecordedRecurrence, EveryChunkingRecordsTheSameBits) {
    for (const char* model : {"qwen35moe.gguf", "qwen3next.gguf"}) {
        Recurrent one(model);
        const Recording whole = test::record(*one.runner, tokens_of(50), 64);
        EXPECT_NE(whole.find({.layer = 0, .name = "delta_convolution"}), nullptr);
        EXPECT_NE(whole.find({.layer = 0, .name = "delta_rule"}), nullptr);
        for (const int64_t chunk : {1, 7})
            EXPECT_GT(test::equal_values(whole, test::record(*one.runner, tokens_of(50), chunk)), 10000) << model;
    }
}

TEST(RecordedRecurrence, AReplayFindsNothing) {
    Recurrent one("qwen35.gguf");
    const Recording recording = test::record(*one.runner, tokens_of(40), 64);
    for (const Force force : {Force::nothing, Force::all}) {
        const auto result = replay(*one.runner, {.recording = recording, .force = force, .chunk = 9}, {});
        ASSERT_TRUE(result) << result.error().message;
        EXPECT_EQ(result->comparison.differing, 0);
        EXPECT_EQ(result->comparison.failures(), 0);
        EXPECT_GT(result->comparison.values, 10000);
    }
}

// Puts back, at the first position of a sequence, what the sequence before it left.
class KeptStates final : public VerbHook {
  public:
    Looks looks() const override { return Looks::at_everything; }
    void before(VerbCall& call) override {
        const auto kept = kept_.find(call.cache_layer);
        if (!call.recurrence || kept == kept_.end() || call.row(0).position != 0) return;
        const std::span<float> state = call.cache->recurrence(call.row(0).sequence, call.cache_layer);
        if (call.verb == Verb::delta_rule) std::copy(kept->second.begin(), kept->second.end(), state.begin());
        ++struck;
    }
    void after(const VerbCall& call) override {
        if (call.verb != Verb::delta_rule) return;
        const std::span<const float> state = call.cache->recurrence(call.row(0).sequence, call.cache_layer);
        const auto elements = static_cast<size_t>(call.recurrence->heads.state_elements());
        if (seen) kept_[call.cache_layer].assign(state.begin(), state.begin() + static_cast<int64_t>(elements));
    }
    bool seen = false;
    int struck = 0;

  private:
    std::map<int, std::vector<float>> kept_;
};

TEST(RecordedRecurrence, AStateThatIsNotResetShowsWhereItIsFirstRead) {
    Recurrent one("qwen35.gguf");
    const Recording clean = test::record(*one.runner, tokens_of(30), 64);
    KeptStates kept;
    kept.seen = true;
    test::record(*one.runner, tokens_of(20, 7), 64, {}, {&kept});  // the sequence before it
    kept.seen = false;
    const Recording wrong = test::record(*one.runner, tokens_of(30), 64, {}, {&kept});
    EXPECT_GT(kept.struck, 0);
    const auto comparison = compare_recordings(clean, wrong, {});
    ASSERT_TRUE(comparison) << comparison.error().message;
    ASSERT_NE(comparison->first_failure(), nullptr);
    EXPECT_EQ(to_string(comparison->first_failure()->key), "layer.0.delta_rule");
    const StageRecord* a = clean.find({.layer = 0, .name = "delta_rule"});
    const StageRecord* b = wrong.find({.layer = 0, .name = "delta_rule"});
    ASSERT_TRUE(a != nullptr && b != nullptr);
    EXPECT_NE(a->value(0, 0), b->value(0, 0)) << "from position 0 on";
}

TEST(RecordedRecurrence, APrefixThatIsCutAndComputedAgainRecordsTheSameBits) {
    for (const bool with_snapshot : {true, false}) {
        Recurrent one("qwen3next");
        const std::vector<int32_t> tokens = tokens_of(60);
        const Recording whole = test::record(*one.runner, tokens, 64);
        SequenceState& cache = one.runner->cache();
        const int32_t sequence = cache.add_sequence();
        const auto feed_from = [&](int64_t start, int64_t end, std::span<VerbHook* const> hooks) {
            const auto part = std::span(tokens).subspan(static_cast<size_t>(start), static_cast<size_t>(end - start));
            const FeedRequest request{
                .sequence = sequence, .start = start, .tokens = part, .chunk = 16, .all_logits = true};
            const auto fed = feed(*one.runner, request, hooks, nullptr);
            ASSERT_TRUE(fed) << fed.error().message;
        };
        Recorder recorder(*one.runner, sequence, {});
        VerbHook* const hooks[] = {&recorder};
        feed_from(0, 30, hooks);
        if (with_snapshot) {
            ASSERT_TRUE(*cache.snapshot(sequence));
        }
        feed_from(30, 60, {});
        EXPECT_EQ(cache.rewind(sequence, 35), with_snapshot ? 30 : 0);
        feed_from(cache.length(sequence), 60, hooks);
        EXPECT_GT(test::equal_values(whole, recorder.take()), 10000);
        cache.remove_sequence(sequence);
    }
}

}  // namespace
}  // namespace invar
