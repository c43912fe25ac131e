// Requests as state machines: many in common steps give each what it gives alone, whatever is computed beside it, in
// which pieces, and however often its sequence is taken away.
#include "generate/request.h"
#include "engine/engine_settings.h"

#include <gtest/gtest.h>

#include <random>

#include "engine/engine_settings.h"
#include "generate/generation.h"
#include "text/tokenizer/from_gguf.h"

namespace invar {
namespace {

constexpr const char* kPrompts[] = {"The history of the sea is",
                                    "Once upon a time there was a fox who lived at the edge of a deep forest. Every "
                                    "morning it went down to the river to "
                                    "drink, and every evening it came back. One day it met a",  // more than a page
                                    "One", "A list of colours: red, green, blue,", "The capital of France"};

class RequestTest : public testing::Test {
  protected:
    void SetUp() override {
        auto opened = Engine::open({.model = std::filesystem::path(INVAR_MODELS) / "demo-moe.gguf",
                                    .threads = 2,
                                    .context = 256,
                                    .chunk = 24,
                                    .sequences = 6},
                                   nullptr);
        ASSERT_TRUE(opened) << opened.error().message;
        engine = std::move(*opened);
        auto made = tokenizer_from_gguf(engine->checkpoint().metadata());
        ASSERT_TRUE(made) << made.error().message;
        tokenizer.emplace(std::move(*made));
    }

    std::vector<int32_t> prompt(size_t number) const {
        return tokenizer
            ->encode(kPrompts[number % std::size(kPrompts)], Tokenizer::Specials::as_text, Tokenizer::Ends::none)
            .value();
    }
    static GenerationSettings settings(size_t number) {
        GenerationSettings settings;
        settings.sampler = {.temperature = number % 2 == 0 ? 0.0f : 1.1f, .top_k = 30, .seed = number};
        settings.sampler.repetition_penalty = number % 3 == 0 ? 1.1f : 1.0f;
        settings.max_tokens = 20 + static_cast<int64_t>(number) * 25;
        settings.ignore_end = number % 2 == 1;
        return settings;
    }
    Request request(size_t number) const {
        auto made = Request::create(*tokenizer, prompt(number), settings(number),
                                    {.context = engine->context(), .vocabulary = engine->config().vocabulary});
        EXPECT_TRUE(made) << made.error().message;
        return std::move(*made);
    }
    Generation alone(size_t number) {
        Session session(*engine, "alone " + std::to_string(number));
        const auto made = generate(session, *tokenizer, prompt(number), settings(number), nullptr, nullptr);
        EXPECT_TRUE(made) << made.error().message;
        return made ? *made : Generation();
    }

    std::unique_ptr<Engine> engine;
    std::optional<Tokenizer> tokenizer;
};

TEST_F(RequestTest, ManyInCommonStepsGiveWhatEachGivesAlone) {
    std::vector<Request> requests;
    std::vector<RequestOnSequence> running;
    std::vector<Generation> expected;
    for (size_t i = 0; i < 5; ++i) {
        expected.push_back(alone(i));
        requests.push_back(request(i));
    }
    for (Request& one : requests) running.push_back({.request = &one, .sequence = engine->cache().add_sequence()});
    const auto done = generate_together(*engine, running);
    ASSERT_TRUE(done) << done.error().message;
    int64_t tokens = 0;
    for (size_t i = 0; i < requests.size(); ++i) {
        ASSERT_TRUE(running[i].failed) << running[i].failed.error().message;
        EXPECT_TRUE(std::ranges::equal(requests[i].sampled(), expected[i].tokens)) << i;
        EXPECT_EQ(requests[i].take_text(), expected[i].text) << i;
        EXPECT_EQ(requests[i].finished(), expected[i].reason) << i;
        tokens += std::ssize(requests[i].sampled());
        engine->cache().remove_sequence(running[i].sequence);
    }
    EXPECT_GT(tokens, 100);
    for (int group = 0; group < std::ssize(engine->cache().groups()); ++group)
        EXPECT_EQ(engine->cache().available(group), engine->cache().units(group));
}

// A random scheduler: any subset of the requests, in pieces of any size, and at any time a request loses its sequence.
TEST_F(RequestTest, NoScheduleAndNoLossOfASequenceChangesAToken) {
    std::mt19937 random(7);
    const auto below = [&](int64_t count) { return static_cast<int64_t>(random() % static_cast<uint64_t>(count)); };
    std::vector<Generation> expected;
    for (size_t i = 0; i < 3; ++i) expected.push_back(alone(i));
    int64_t lost = 0, attached = 0;
    for (int round = 0; round < 4; ++round) {
        std::vector<Request> requests;
        std::vector<int32_t> sequences;
        for (size_t i = 0; i < 3; ++i) {
            requests.push_back(request(i));
            sequences.push_back(engine->cache().add_sequence());
        }
        const auto goes_on = [](const Request& one) { return !one.finished().has_value(); };
        while (std::ranges::any_of(requests, goes_on)) {
            std::vector<StepPiece> pieces;
            std::vector<size_t> of_piece;
            int64_t rows = engine->chunk();
            for (size_t i = 0; i < requests.size(); ++i) {
                if (!goes_on(requests[i]) || below(3) == 0 || rows == 0) continue;
                if (below(25) == 0) {
                    engine->cache().remove_sequence(sequences[i]);
                    sequences[i] = engine->cache().add_sequence();
                    const std::span<const int32_t> tokens = requests[i].tokens();
                    attached += engine->cache().attach_prefix(sequences[i], tokens.first(tokens.size() - 1));
                    ++lost;
                }
                auto piece = requests[i].next_piece(sequences[i], engine->cache().length(sequences[i]),
                                                    std::min(rows, 1 + below(9)));
                ASSERT_TRUE(piece);
                rows -= std::ssize(piece->tokens);
                pieces.push_back(*piece);
                of_piece.push_back(i);
            }
            const auto step = engine->step(pieces);
            ASSERT_TRUE(step) << step.error().message;
            for (size_t i = 0; i < pieces.size(); ++i) {
                ASSERT_TRUE((*step)[i]) << (*step)[i].error().message;
                if (pieces[i].wanted == StepWanted::nothing) continue;
                ASSERT_TRUE(requests[of_piece[i]].take(*(*step)[i]));
            }
        }
        for (size_t i = 0; i < requests.size(); ++i) {
            EXPECT_TRUE(std::ranges::equal(requests[i].sampled(), expected[i].tokens)) << i;
            engine->cache().remove_sequence(sequences[i]);
        }
    }
    std::printf("[requests] %ld sequences taken away and recomputed, %ld positions of them attached\n",
                static_cast<long>(lost), static_cast<long>(attached));
    EXPECT_GT(lost, 5);
    EXPECT_GT(attached, 0);
}

TEST_F(RequestTest, AnEditedPromptReusesWhatItSharesAndAnswersAsIfAllWereComputed) {
    std::vector<int32_t> history = prompt(1);
    Session session(*engine);
    for (size_t turn = 0; turn < 3; ++turn) {
        const auto said = generate(session, *tokenizer, history, settings(1), nullptr, nullptr);
        ASSERT_TRUE(said) << said.error().message;
        history.insert(history.end(), said->tokens.begin(), said->tokens.end());
    }
    ASSERT_GT(history.size(), 100u);
    int64_t reused = 0;
    for (const size_t edited_at : {history.size() - 1, size_t{70}, size_t{3}}) {
        std::vector<int32_t> edited(history.begin(), history.begin() + static_cast<int64_t>(edited_at));
        edited.push_back((history[edited_at] + 1) % static_cast<int32_t>(engine->config().vocabulary));
        const auto again = generate(session, *tokenizer, edited, settings(2), nullptr, nullptr);
        Session fresh(*engine, "edited at " + std::to_string(edited_at));
        const auto expected = generate(fresh, *tokenizer, edited, settings(2), nullptr, nullptr);
        ASSERT_TRUE(again && expected);
        EXPECT_EQ(again->text, expected->text) << edited_at;
        EXPECT_EQ(again->tokens, expected->tokens) << edited_at;
        EXPECT_EQ(again->reused_tokens, static_cast<int64_t>(edited_at));
        EXPECT_EQ(expected->reused_tokens, 0);
        reused += again->reused_tokens;
    }
    std::printf("[edit] %ld tokens were not computed again\n", static_cast<long>(reused));
}

TEST_F(RequestTest, ACancelledRequestKeepsWhatItHasSaid) {
    Request one = request(0);
    Session session(*engine);
    while (one.sampled().size() < 5) {
        const auto piece = one.next_piece(session.sequence(), std::ssize(session.tokens()), engine->chunk());
        const auto step = engine->step({&*piece, 1});
        ASSERT_TRUE(step && step->front());
        if (piece->wanted == StepWanted::nothing) continue;
        ASSERT_TRUE(one.take(*step->front()));
    }
    one.cancel();
    EXPECT_EQ(one.finished(), FinishReason::cancelled);
    EXPECT_TRUE(alone(0).text.starts_with(one.take_text()));
}

// What a request gives when it is made to choose these tokens.
std::vector<std::pair<std::string, int32_t>> pieces_of(const Tokenizer& tokenizer, GenerationSettings settings,
                                                       const std::vector<int32_t>& tokens) {
    settings.sampler.temperature = 0;
    auto request = Request::create(tokenizer, std::vector<int32_t>{0}, std::move(settings),
                                   {.context = 64, .vocabulary = tokenizer.size()});
    EXPECT_TRUE(request);
    std::vector<std::pair<std::string, int32_t>> pieces;
    const auto take = [&] {
        for (TextPiece& piece : request->take_pieces()) pieces.emplace_back(std::move(piece.text), piece.mark);
    };
    for (const int32_t token : tokens) {
        if (request->finished()) break;
        std::vector<float> logits(static_cast<size_t>(tokenizer.size()));
        logits[static_cast<size_t>(token)] = 1;
        EXPECT_TRUE(request->take({.logits = logits}));
        take();
    }
    request->cancel();
    take();
    return pieces;
}

TEST_F(RequestTest, DeliversMarksApartFromTheTextAndWhole) {
    const int32_t open = tokenizer->find("<think>").value(), close = tokenizer->find("</think>").value();
    const auto ids = [&](std::string_view text) {
        return tokenizer->encode(text, Tokenizer::Specials::parse, Tokenizer::Ends::none).value();
    };
    using Pieces = std::vector<std::pair<std::string, int32_t>>;
    const std::vector<int32_t> answer = ids("<think>a</think>b");
    GenerationSettings settings;
    EXPECT_EQ(pieces_of(*tokenizer, settings, answer),
              (Pieces{{"<think>", -1}, {"a", -1}, {"</think>", -1}, {"b", -1}}));
    settings.marks = {open, close};
    EXPECT_EQ(pieces_of(*tokenizer, settings, answer),
              (Pieces{{"<think>", open}, {"a", -1}, {"</think>", close}, {"b", -1}}));
    // The beginning of a character, cut off by a mark, cannot become one any more.
    std::vector<int32_t> cut = ids("\xF0\x9D\x94\xB8");
    ASSERT_GT(cut.size(), 1u) << "the vocabulary has no token for this character";
    cut.resize(1);
    cut.push_back(open);
    EXPECT_EQ(pieces_of(*tokenizer, settings, cut), (Pieces{{"\xEF\xBF\xBD", -1}, {"<think>", open}}));
    // A stop string that may begin in a mark holds it back, and one that does cuts it.
    settings.stop = {"nk>aZ"};
    EXPECT_EQ(pieces_of(*tokenizer, settings, answer),
              (Pieces{{"<think>", open}, {"a", -1}, {"</think>", close}, {"b", -1}}));
    settings.stop = {"nk>a"};
    EXPECT_EQ(pieces_of(*tokenizer, settings, answer), (Pieces{{"<thi", -1}}));
    settings.stop = {"</think>"};
    EXPECT_EQ(pieces_of(*tokenizer, settings, answer), (Pieces{{"<think>", open}, {"a", -1}}));
}

TEST_F(RequestTest, RefusesWhatCannotBegin) {
    const Request::Limits limits{.context = 4, .vocabulary = 10};
    EXPECT_EQ(Request::create(*tokenizer, {}, {}, limits).error().message,
              "the prompt has no tokens; give at least one");
    const std::vector<int32_t> five(5, 1);
    EXPECT_EQ(Request::create(*tokenizer, five, {}, limits).error().message,
              "the prompt has 5 tokens, but the context holds 4; shorten it or raise --context");
    GenerationSettings cold;
    cold.sampler.temperature = -1;
    EXPECT_FALSE(Request::create(*tokenizer, std::vector<int32_t>{1}, cold, limits));
}

}  // namespace
}  // namespace invar
