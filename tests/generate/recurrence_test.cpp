// Conversations with a model that has recurrences: after an edit of an earlier turn they go on from the last snapshot
// at or before it, compute fewer tokens, and say exactly what they say if everything is computed again.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "engine/engine_settings.h"
#include "generate/generation.h"
#include "text/tokenizer/from_gguf.h"

namespace invar {
namespace {

class RecurrentConversation : public testing::TestWithParam<const char*> {
  protected:
    void SetUp() override {
        EngineSettings settings{.model = std::filesystem::path(INVAR_TEST_DATA) / "goldens_hf" / GetParam()};
        settings.threads = 2;
        settings.context = 256;
        settings.chunk = 80;
        settings.sequences = 3;
        settings.snapshots = 40;
        auto opened = Engine::open(settings, nullptr);
        ASSERT_TRUE(opened) << opened.error().message;
        engine = std::move(*opened);
        // The model has no vocabulary; any other's shows what it says.
        auto file = Checkpoint::open(std::filesystem::path(INVAR_MODELS) / "demo-moe.gguf");
        ASSERT_TRUE(file) << file.error().message;
        words.emplace(std::move(*file));
        auto made = tokenizer_from_gguf(words->metadata());
        ASSERT_TRUE(made) << made.error().message;
        tokenizer.emplace(std::move(*made));
    }

    static std::vector<int32_t> turn(int64_t count, int32_t seed) {
        std::vector<int32_t> tokens;
        for (int64_t i = 0; i < count; ++i)
            tokens.push_back(static_cast<int32_t>((i * 13 + i * i * 3 + seed) % 37 + 3));
        return tokens;
    }
    Generation say(Session& session, const std::vector<int32_t>& prompt) {
        GenerationSettings settings;
        settings.sampler = {.temperature = 1.2f, .top_k = 20, .seed = 5};
        settings.max_tokens = 12;
        settings.ignore_end = true;
        const auto said = generate(session, *tokenizer, prompt, settings, nullptr, nullptr);
        EXPECT_TRUE(said) << said.error().message;
        return said ? *said : Generation();
    }
    // What an engine says that has computed nothing before.
    Generation anew(const std::vector<int32_t>& prompt) {
        static int count = 0;
        Session session(*engine, "anew " + std::to_string(count++));
        Generation said = say(session, prompt);
        EXPECT_EQ(said.reused_tokens, 0);
        return said;
    }

    std::unique_ptr<Engine> engine;
    std::optional<Checkpoint> words;
    std::optional<Tokenizer> tokenizer;
};

void expect_same(const Generation& a, const Generation& b) {
    EXPECT_EQ(a.tokens, b.tokens);
    EXPECT_EQ(a.text, b.text);
    EXPECT_EQ(a.tokens.size(), 12u);
}

std::vector<int32_t> joined(std::vector<int32_t> a, const std::vector<int32_t>& b) {
    a.insert(a.end(), b.begin(), b.end());
    return a;
}

TEST_P(RecurrentConversation, GoesOnFromTheLastSnapshotBeforeAnEditAndSaysTheSame) {
    Session session(*engine, "one");
    const std::vector<int32_t> first = turn(25, 1);
    const Generation answer = say(session, first);
    expect_same(answer, anew(first));
    const std::vector<int32_t> second = joined(joined(first, answer.tokens), turn(20, 2));
    const Generation more = say(session, second);
    EXPECT_EQ(more.reused_tokens, 25 + 11) << "nothing was cut: all but the last token that it said";
    expect_same(more, anew(second));
    const std::vector<int32_t> third = joined(joined(second, more.tokens), turn(15, 3));
    say(session, third);

    // The second question is another one: the end of the first prompt is the last state that is known.
    std::vector<int32_t> edited = joined(joined(first, answer.tokens), turn(18, 9));
    Generation said = say(session, edited);
    EXPECT_EQ(said.reused_tokens, 25);
    expect_same(said, anew(edited));
    // The first answer is another one.
    edited = joined(joined(first, turn(12, 30)), turn(18, 4));
    said = say(session, edited);
    EXPECT_EQ(said.reused_tokens, 25);
    expect_same(said, anew(edited));
    // The first question is another one: nothing is known.
    edited = joined(turn(24, 1), turn(20, 7));
    said = say(session, edited);
    EXPECT_EQ(said.reused_tokens, 0);
    expect_same(said, anew(edited));
}

TEST_P(RecurrentConversation, ALongPromptHasSnapshotsWhereItsPiecesEnd) {
    Session session(*engine, "long");
    const std::vector<int32_t> prompt = turn(200, 3);
    say(session, prompt);
    for (const size_t at : {size_t{199}, size_t{190}, size_t{130}, size_t{127}, size_t{70}}) {
        std::vector<int32_t> edited(prompt.begin(), prompt.begin() + static_cast<int64_t>(at));
        edited.push_back(prompt[at] == 5 ? 6 : 5);
        const Generation said = say(session, edited);
        EXPECT_EQ(said.reused_tokens, at >= 128 ? 128 : 64) << at;  // pieces of 64, 64 and 72
        expect_same(said, anew(edited));
    }
}

TEST_P(RecurrentConversation, AnotherSequenceAttachesToTheSameQuestion) {
    Session session(*engine, "shared");
    const std::vector<int32_t> prompt = turn(150, 8);
    const Generation first = say(session, prompt);
    Session other(*engine, "shared");
    const Generation second = say(other, prompt);
    EXPECT_EQ(second.reused_tokens, 128);
    expect_same(second, first);
}

TEST_P(RecurrentConversation, TheStateIsThatOfEverythingComputedAgain) {
    Session session(*engine, "states");
    const std::vector<int32_t> prompt = turn(100, 2);
    ASSERT_TRUE(advance_to(session, prompt, nullptr));
    std::vector<int32_t> edited(prompt.begin(), prompt.begin() + 90);
    edited.push_back(1);
    ASSERT_TRUE(advance_to(session, edited, nullptr));
    EXPECT_EQ(session.reused_tokens(), 64);
    Session other(*engine, "states anew");
    ASSERT_TRUE(advance_to(other, edited, nullptr));
    EXPECT_EQ(other.reused_tokens(), 0);
    int64_t compared = 0;
    for (int layer = 0; layer < static_cast<int>(engine->config().layers.size()); ++layer) {
        if (engine->config().recurrences()[static_cast<size_t>(layer)].bytes() == 0) continue;
        const std::span<const float> a = engine->cache().recurrence(session.sequence(), layer);
        const std::span<const float> b = engine->cache().recurrence(other.sequence(), layer);
        ASSERT_EQ(a.size_bytes(), b.size_bytes());
        EXPECT_EQ(std::memcmp(a.data(), b.data(), a.size_bytes()), 0) << layer;
        compared += std::ssize(a);
    }
    EXPECT_GT(compared, 100);
}

// Requests in common steps take snapshots too, and none sees another's state.
TEST_P(RecurrentConversation, RequestsInCommonStepsSayWhatEachSaysAlone) {
    std::vector<Request> requests;
    std::vector<RequestOnSequence> running;
    std::vector<std::vector<int32_t>> prompts = {turn(90, 1), turn(20, 5), turn(140, 9)};
    for (const std::vector<int32_t>& prompt : prompts) {
        GenerationSettings settings;
        settings.sampler = {.temperature = 1.2f, .top_k = 20, .seed = 5};
        settings.max_tokens = 12;
        settings.ignore_end = true;
        auto made = Request::create(*tokenizer, prompt, settings,
                                    {.context = engine->context(), .vocabulary = engine->config().vocabulary});
        ASSERT_TRUE(made) << made.error().message;
        requests.push_back(std::move(*made));
    }
    for (Request& one : requests) running.push_back({.request = &one, .sequence = engine->cache().add_sequence("it")});
    const auto done = generate_together(*engine, running);
    ASSERT_TRUE(done) << done.error().message;
    for (const RequestOnSequence& one : running) engine->cache().remove_sequence(one.sequence);
    for (size_t i = 0; i < prompts.size(); ++i) {
        const Generation alone = anew(prompts[i]);
        EXPECT_TRUE(std::ranges::equal(requests[i].sampled(), alone.tokens)) << i;
    }
}

// A gated delta net, and a short convolution, whose state is its last inputs alone.
INSTANTIATE_TEST_SUITE_P(Models, RecurrentConversation, testing::Values("qwen35.gguf", "lfm2.gguf"));

}  // namespace
}  // namespace invar
