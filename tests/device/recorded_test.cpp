// What users get from a device: passes recorded once and replayed, and tokens chosen from ranks that the device found.
// Whole generations equal those of plain passes, of all logits, and of the CPU; so do random states; and a recording
// that was spoilt is seen.
#include <gtest/gtest.h>

#include <random>

#include "device_engine.h"
#include "generate/generation.h"
#include "proof/verify/recorded_passes.h"
#include "text/tokenizer/from_gguf.h"

namespace invar {
namespace {

using namespace test;

std::filesystem::path golden(const std::string& name) {
    return std::filesystem::path(INVAR_TEST_DATA) / "goldens" / (name + ".gguf");
}

constexpr int64_t kTokens = 8;

// Looks at nothing, but one who looks is shown all logits.
class NoObserver final : public SamplerObserver {};

struct Sampling {
    const char* name;
    SamplerSettings settings;
    bool ranked = true;  // the device's ranks suffice
};

std::vector<Sampling> samplings() {
    SamplerSettings penalised{.temperature = 1.3f, .top_k = 64, .seed = 4};
    penalised.repetition_penalty = 1.2f;
    penalised.frequency_penalty = 0.3f;
    penalised.presence_penalty = 0.1f;
    penalised.penalty_window = -1;
    penalised.banned.ids = {5, 17};
    penalised.bias = {{30, 2.5f}, {5, 9.0f}};
    return {{"greedy", {.temperature = 0}},
            {"top-k, top-p and min-p", {.temperature = 1.5f, .top_k = 40, .top_p = 0.95f, .min_p = 0.05f, .seed = 3}},
            {"with penalties", penalised},
            {"without top-k", {.temperature = 1, .seed = 5}, false}};
}

Generation generated(Engine& engine, const Tokenizer& tokenizer, const SamplerSettings& sampler,
                     SamplerObserver* observer) {
    const std::vector<int32_t> prompt =
        tokenizer.encode("The history of the sea is", Tokenizer::Specials::as_text, Tokenizer::Ends::none).value();
    Session session(engine);
    const GenerationSettings settings{
        .sampler = sampler, .max_tokens = kTokens, .stop = {}, .ignore_end = true, .observer = observer};
    auto generation = generate(session, tokenizer, prompt, settings, nullptr, nullptr);
    EXPECT_TRUE(generation.has_value()) << generation.error().message;
    return generation ? std::move(*generation) : Generation();
}

TEST(Recorded, GenerationsAreThoseOfPlainPassesOfAllLogitsAndOfTheCpu) {
    const EngineSettings settings{
        .model = std::filesystem::path(INVAR_MODELS) / "demo-moe.gguf", .threads = 2, .context = 128, .chunk = 32};
    EngineSettings recorded_settings = settings, plain_settings = settings;
    recorded_settings.device = plain_settings.device = emulated();
    plain_settings.passes = Passes::plain;
    const auto cpu = opened(settings), recorded = opened(recorded_settings), plain = opened(plain_settings);
    ASSERT_TRUE(cpu && recorded && plain);
    EXPECT_FALSE(cpu->recorded_passes() || plain->recorded_passes());
    ASSERT_TRUE(recorded->recorded_passes());
    EXPECT_FALSE(cpu->ranks_on_device());
    EXPECT_TRUE(recorded->ranks_on_device() && plain->ranks_on_device());
    const auto tokenizer = tokenizer_from_gguf(cpu->checkpoint().metadata());
    ASSERT_TRUE(tokenizer.has_value());

    int64_t tokens = 0, ranked_bytes = 0, ranked_tokens = 0;
    std::set<std::string> texts;
    for (const Sampling& sampling : samplings()) {
        const Generation expected = generated(*cpu, *tokenizer, sampling.settings, nullptr);
        ASSERT_EQ(expected.tokens.size(), size_t{kTokens}) << sampling.name;
        texts.insert(expected.text);
        NoObserver observer;
        for (const auto& [engine, seen] :
             {std::pair(recorded.get(), false), std::pair(recorded.get(), true), std::pair(plain.get(), false)}) {
            const int64_t before = engine->split_ops()->downloaded_bytes();
            const Generation actual = generated(*engine, *tokenizer, sampling.settings, seen ? &observer : nullptr);
            EXPECT_EQ(actual.tokens, expected.tokens) << sampling.name;
            EXPECT_EQ(actual.text, expected.text) << sampling.name;
            tokens += static_cast<int64_t>(actual.tokens.size());
            // What came back: the ranks that were asked for and a word for what was wrong, or all logits; once a token.
            const int64_t downloaded = engine->split_ops()->downloaded_bytes() - before;
            const int64_t ranks = sampling.settings.temperature == 0 ? 1 : sampling.settings.top_k;
            const bool from_ranks = sampling.ranked && !seen;
            EXPECT_EQ(downloaded, kTokens * (from_ranks ? 8 * (1 + ranks) : 4 * engine->config().vocabulary))
                << sampling.name;
            ranked_bytes += from_ranks ? downloaded : 0;
            ranked_tokens += from_ranks ? kTokens : 0;
        }
    }
    EXPECT_EQ(texts.size(), 4u) << "the settings differ in what they choose";
    const RecordedPasses::Counts counts = *recorded->recorded_passes();
    std::printf(
        "[recorded] %ld tokens of generations equal the CPU's; %ld passes plain, %ld recorded, %ld replayed, "
        "%ld refused; %ld bytes a ranked token of %ld a row\n",
        tokens, counts.plain, counts.recorded, counts.replayed, counts.refused, ranked_bytes / ranked_tokens,
        4 * cpu->config().vocabulary);
    EXPECT_EQ(tokens, 4 * 3 * kTokens);
    EXPECT_EQ(counts.refused, 0);
    // Two shapes, a prompt and a token, twice as many where a sequence passes a doubling of its chunks.
    EXPECT_EQ(counts.plain + counts.recorded + counts.replayed, 4 * 2 * kTokens);
    EXPECT_GT(counts.replayed, 50);
}

TEST(Recorded, PassesEqualPlainOnesOnRandomStates) {
    int64_t replayed = 0, choices = 0;
    BookCounts counts;
    for (const char* name : {"qwen3moe", "mistral-window", "qwen2"}) {
        EngineSettings settings = on_device(small_settings(golden(name)), {});
        settings.sequences = 4;
        const auto engine = opened(settings);
        const auto check = check_recorded_passes(*engine, {.steps = 24, .seconds = 60, .seed = 11});
        ASSERT_TRUE(check.has_value()) << check.error().message;
        EXPECT_EQ(check->counts.differing_values, 0) << name;
        EXPECT_FALSE(check->first.has_value());
        EXPECT_EQ(check->passes.refused, 0);
        EXPECT_EQ(check->passes.plain + check->passes.recorded + check->passes.replayed, 2 * check->steps);
        EXPECT_GE(check->choices, check->steps);
        replayed += check->passes.replayed;
        choices += check->choices;
        counts.stages += check->counts.stages;
        counts.values += check->counts.values;
    }
    std::printf("[recorded] %ld passes replayed, %ld rows and choices, %ld values equal; %ld tokens from ranks\n",
                replayed, counts.stages, counts.values, choices);
    EXPECT_GT(replayed, 80);
    EXPECT_GT(choices, 72);
    EXPECT_GT(counts.values, 3'000);
}

TEST(Recorded, TheCheckSeesACacheThatOnlyRecordedPassesRead) {
    EngineSettings settings = on_device(small_settings(golden("qwen3")), {});
    settings.sequences = 2;
    const auto engine = opened(settings);
    int64_t passes = 0, spoilt_at = -1;
    const auto spoil = [&](const Batch& batch) {
        const BatchRow& row = batch.rows.front();
        if (++passes < 10 || spoilt_at >= 0 || row.position == 0) return;
        spoilt_at = passes;
        // The first key of layer 0: the emulated device's memory is the host's.
        const StateMemory::Pool& pool = engine->cache().pool(0);
        const int32_t page = engine->cache().pages_of(row.sequence, 0)[0];
        std::byte* const keys = pool.memory.get() + page * pool.unit_bytes + engine->cache().layer_place(0).keys;
        for (int64_t element = 0; element < 8; ++element) keys[element * kPagePositions * 2 + 1] ^= std::byte{0x10};
    };
    const auto check =
        check_recorded_passes(*engine, {.steps = 30, .seconds = 60, .seed = 12, .before_recorded = spoil});
    ASSERT_TRUE(check.has_value()) << check.error().message;
    EXPECT_GT(spoilt_at, 0);
    EXPECT_GT(check->counts.differing_values, 0);
    ASSERT_TRUE(check->first.has_value());
    EXPECT_EQ(check->first->key.name, "logits");
    EXPECT_NE(check->first->expected_bits, check->first->bits);
    std::printf("[recorded] a spoilt key is seen: %ld of %ld values differ\n", check->counts.differing_values,
                check->counts.values);
}

}  // namespace
}  // namespace invar
