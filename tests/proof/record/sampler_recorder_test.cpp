// A sampler that is observed chooses what it would choose unobserved, and what it shows is what it did.
#include "proof/record/sampler_recorder.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <random>

#include "engine/engine_settings.h"
#include "generate/generation.h"
#include "text/tokenizer/from_gguf.h"

namespace invar {
namespace {

std::vector<float> random_logits(uint32_t seed) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal(0, 3);
    std::vector<float> logits(1000);
    for (float& logit : logits) logit = normal(random);
    return logits;
}

std::vector<SamplerSettings> some_settings() {
    return {{.temperature = 0},
            {.temperature = 0.7f, .top_k = 40, .top_p = 0.95f, .min_p = 0.05f, .seed = 5},
            {.temperature = 1.5f, .repetition_penalty = 1.2f, .seed = 9, .banned = {{3, 4}}},
            {.temperature = 1, .top_k = 7}};
}

TEST(SamplerRecorder, ChangesNoChoice) {
    int compared = 0;
    for (const SamplerSettings& settings : some_settings()) {
        Sampler plain(settings), observed(settings);
        SamplerRecorder recorder({});
        observed.observe(&recorder);
        std::vector<int32_t> history = {1, 2, 3};
        for (int step = 0; step < 50; ++step) {
            const std::vector<float> logits = random_logits(static_cast<uint32_t>(step));
            const auto position = static_cast<int64_t>(history.size());
            const auto a = plain.sample(logits, history, position), b = observed.sample(logits, history, position);
            ASSERT_TRUE(a && b);
            EXPECT_EQ(a->token, b->token);
            EXPECT_EQ(a->probability, b->probability);
            EXPECT_EQ(a->candidates, b->candidates);
            history.push_back(a->token);
            ++compared;
        }
    }
    EXPECT_EQ(compared, 200);
}

TEST(SamplerRecorder, RecordsEachStepOfTheChoiceAtThePositionWhoseLogitsItRead) {
    for (const SamplerSettings& settings : some_settings()) {
        Sampler sampler(settings);
        SamplerRecorder recorder({});
        sampler.observe(&recorder);
        std::vector<int32_t> history = {1, 2, 3};
        std::vector<SampledToken> chosen;
        for (int step = 0; step < 8; ++step) {
            const auto token = sampler.sample(random_logits(static_cast<uint32_t>(step)), history, 3 + step);
            ASSERT_TRUE(token);
            chosen.push_back(*token);
            history.push_back(token->token);
        }
        Recording recording;
        recorder.append_to(recording);
        ASSERT_EQ(recording.stages.size(), 4u);
        const StageRecord *penalised = recording.find({-1, "sampler.penalised"}),
                          *candidates = recording.find({-1, "sampler.candidates"}),
                          *probabilities = recording.find({-1, "sampler.probabilities"}),
                          *choice = recording.find({-1, "sampler.chosen"});
        ASSERT_TRUE(penalised != nullptr && candidates != nullptr && probabilities != nullptr && choice != nullptr);
        EXPECT_EQ(penalised->shape, (std::vector<int64_t>{1000}));
        EXPECT_EQ(candidates->shape, probabilities->shape);
        EXPECT_EQ(candidates->positions, (std::vector<int64_t>{2, 3, 4, 5, 6, 7, 8, 9}));
        for (int64_t i = 0; i < 8; ++i) {
            const SampledToken& token = chosen[static_cast<size_t>(i)];
            EXPECT_EQ(choice->value(i, 0), token.token);
            double sum = 0;
            int64_t left = 0, at = -1;
            for (int64_t rank = 0; rank < candidates->width(); ++rank) {
                const auto id = static_cast<int32_t>(candidates->value(i, rank));
                if (id < 0) {
                    EXPECT_EQ(probabilities->value(i, rank), 0);
                    continue;
                }
                if (id == token.token) at = rank;
                if (rank > 0) {
                    const auto before = static_cast<int64_t>(candidates->value(i, rank - 1));
                    EXPECT_LE(penalised->value(i, id), penalised->value(i, before));
                }
                sum += probabilities->value(i, rank);
                ++left;
            }
            EXPECT_EQ(left, token.candidates);
            EXPECT_NEAR(sum, 1, 1e-5);
            ASSERT_GE(at, 0);
            EXPECT_EQ(static_cast<float>(probabilities->value(i, at)), token.probability);
            for (const int32_t banned : settings.banned.ids) EXPECT_EQ(penalised->value(i, banned), -INFINITY);
        }
    }
}

TEST(SamplerRecorder, AnObservedGenerationIsTheSameOne) {
    const std::filesystem::path path = std::filesystem::path(INVAR_MODELS) / "demo-moe.gguf";
    const auto engine = Engine::open({.model = path, .threads = 2, .context = 256}, nullptr);
    ASSERT_TRUE(engine) << engine.error().message;
    const auto tokenizer = tokenizer_from_gguf((*engine)->checkpoint().metadata());
    ASSERT_TRUE(tokenizer);
    const std::vector<int32_t> prompt = {764, 268, 198, 356, 11, 559, 78, 475};
    const auto run = [&](SamplerObserver* observer) {
        GenerationSettings settings;
        settings.sampler = {.temperature = 0.9f, .top_k = 20, .seed = 3};
        settings.max_tokens = 30;
        settings.ignore_end = true;
        settings.observer = observer;
        Session session(**engine);
        const auto generated = generate(session, *tokenizer, prompt, settings, nullptr, nullptr);
        EXPECT_TRUE(generated);
        return generated ? generated->tokens : std::vector<int32_t>();
    };
    SamplerRecorder recorder({});
    const std::vector<int32_t> plain = run(nullptr), observed = run(&recorder);
    EXPECT_EQ(plain, observed);
    Recording recording;
    recorder.append_to(recording);
    const StageRecord* chosen = recording.find({-1, "sampler.chosen"});
    ASSERT_NE(chosen, nullptr);
    ASSERT_EQ(chosen->positions.size(), 30u);
    EXPECT_EQ(chosen->positions.front(), 7);
    for (size_t i = 0; i < observed.size(); ++i) EXPECT_EQ(chosen->value(static_cast<int64_t>(i), 0), observed[i]);
}

}  // namespace
}  // namespace invar
