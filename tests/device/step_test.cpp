// Steps of several requests on the CPU and on the emulated device: each piece gets what it would get alone, an error
// strikes its own piece only, and what is shared, cut back, attached or computed again changes no bit.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <random>

#include "device_engine.h"
#include "generate/generation.h"

namespace invar {
namespace {

using namespace test;

constexpr int32_t kPoison = 77;  // the embedding of this token is not a number

std::filesystem::path poisoned_model() {
    TinyModel model = tiny("qwen3moe");
    std::vector<std::byte> bytes = model.bytes();
    const GgufFile file = GgufFile::from_bytes(bytes, "poisoned.gguf").value();
    const uint32_t nan = 0x7FC00000;
    auto* row = const_cast<std::byte*>(file.find("token_embd.weight")->data) + kPoison * model.width * 4;
    std::memcpy(row + 4 * 5, &nan, 4);
    const std::filesystem::path path = model.write("poisoned.gguf");
    std::ofstream(path, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    return path;
}

// The engines that steps are tested on: of the CPU, of the device, and with a layer on each.
std::vector<std::pair<std::string, std::unique_ptr<Engine>>> engines_of(const EngineSettings& settings) {
    std::vector<std::pair<std::string, std::unique_ptr<Engine>>> engines;
    engines.emplace_back("CPU", opened(settings));
    engines.emplace_back("device", opened(on_device(settings, {})));
    engines.emplace_back("split", opened(on_device(settings, {.layers = 2})));
    return engines;
}

std::vector<int32_t> some_of(int64_t count, int32_t first) {
    std::vector<int32_t> tokens;
    for (int64_t i = 0; i < count; ++i) tokens.push_back(static_cast<int32_t>((first + i * 31) % 40));
    return tokens;
}

// The logits that follow tokens, computed alone in a sequence that shares nothing.
std::vector<float> alone(Engine& engine, std::span<const int32_t> tokens) {
    static int64_t salt = 0;
    Session session(engine, fmt::format("alone {}", ++salt));
    const auto logits = advance_to(session, tokens, nullptr);
    EXPECT_TRUE(logits.has_value()) << logits.error().message;
    return logits ? std::vector<float>(logits->begin(), logits->end()) : std::vector<float>();
}

std::vector<float> copied(std::span<const float> logits) { return {logits.begin(), logits.end()}; }

TEST(Step, AnErrorStrikesItsOwnPieceAndTheOthersGetWhatTheyGetAlone) {
    const std::filesystem::path path = poisoned_model();
    EngineSettings settings = small_settings(path);
    settings.sequences = 8;
    settings.chunk = 64;
    int64_t compared = 0;
    for (const auto& [name, engine] : engines_of(settings)) {
        ASSERT_NE(engine, nullptr);
        // Prompts and single tokens; pieces 1 and 4 have a number that is none, piece 3 a token that there is not.
        std::vector<std::vector<int32_t>> tokens = {some_of(9, 1), some_of(7, 2), some_of(1, 3),
                                                    some_of(4, 4), some_of(1, 5), some_of(12, 6)};
        tokens[1][3] = tokens[4][0] = kPoison;
        tokens[3][2] = 260;
        std::vector<StepPiece> pieces;
        for (const auto& piece : tokens) {
            pieces.push_back(
                {.sequence = engine->cache().add_sequence(fmt::format("piece {}", pieces.size())), .tokens = piece});
        }
        const auto step = engine->step(pieces);
        ASSERT_TRUE(step.has_value()) << step.error().message;
        for (const size_t struck : {size_t{1}, size_t{4}}) {
            ASSERT_FALSE((*step)[struck].has_value()) << name;
            EXPECT_EQ((*step)[struck].error().kind, ErrorKind::numeric);
            EXPECT_NE((*step)[struck].error().message.find("is nan at row"), std::string::npos);
        }
        ASSERT_FALSE((*step)[3].has_value());
        EXPECT_EQ((*step)[3].error().kind, ErrorKind::bad_input);
        std::vector<std::vector<float>> got;
        for (const size_t fine : {size_t{0}, size_t{2}, size_t{5}}) {
            ASSERT_TRUE((*step)[fine].has_value()) << name << ": " << (*step)[fine].error().message;
            got.push_back(copied((*step)[fine]->logits));
            EXPECT_EQ(engine->cache().length(pieces[fine].sequence), std::ssize(tokens[fine]));
        }
        for (const size_t struck : {size_t{1}, size_t{3}, size_t{4}})
            EXPECT_EQ(engine->cache().length(pieces[struck].sequence), 0) << "what failed has not been computed";
        const std::vector<size_t> fine = {0, 2, 5};
        for (size_t i = 0; i < fine.size(); ++i) {
            EXPECT_EQ(differing(got[i], alone(*engine, tokens[fine[i]])), 0) << name << ", piece " << fine[i];
            compared += std::ssize(got[i]);
        }
        // The one that was struck goes on with something else, over a part of what the NaN was stored in.
        const std::vector<int32_t> other = some_of(4, 2);
        const StepPiece again{.sequence = pieces[1].sequence, .tokens = other};
        const auto repaired = engine->step({&again, 1});
        ASSERT_TRUE(repaired.has_value() && repaired->front().has_value());
        const std::vector<float> logits = copied(repaired->front()->logits);
        EXPECT_EQ(differing(logits, alone(*engine, other)), 0) << name;
    }
    std::filesystem::remove(path);
    std::printf("[step] %ld logits beside struck pieces and alone: 0 differ\n", static_cast<long>(compared));
    EXPECT_GT(compared, 2000);
}

TEST(Step, RanksAndPromptsOfADeviceAreOnePass) {
    const std::filesystem::path path = poisoned_model();
    EngineSettings settings = small_settings(path);
    settings.sequences = 4;
    const auto engine = opened(on_device(settings, {}));
    ASSERT_NE(engine, nullptr);
    const auto passes = [&] {
        const RecordedPasses::Counts counts = *engine->recorded_passes();
        return counts.plain + counts.recorded + counts.replayed;
    };
    std::vector<int32_t> sequences;
    for (int i = 0; i < 4; ++i) sequences.push_back(engine->cache().add_sequence(fmt::format("{}", i)));
    const std::vector<int32_t> prompt = some_of(6, 4), one = some_of(1, 5), poison = {kPoison};
    const Preselection request{.edits = {}, .count = 3};
    std::vector<StepPiece> pieces = {
        {.sequence = sequences[0], .tokens = prompt, .wanted = StepWanted::nothing},
        {.sequence = sequences[1], .tokens = one, .wanted = StepWanted::last_logits, .ranked = request}};
    const int64_t before = passes();
    auto step = engine->step(pieces);
    ASSERT_TRUE(step.has_value());
    EXPECT_EQ(passes() - before, 1);
    EXPECT_TRUE((*step)[0]->logits.empty() && !(*step)[0]->ranked);
    const RankedLogits expected = *(*step)[1]->ranked;
    EXPECT_EQ(expected.first.size(), 3u);

    // The same beside a NaN, in other sequences.
    pieces = {{.sequence = sequences[2], .tokens = one, .wanted = StepWanted::last_logits, .ranked = request},
              {.sequence = sequences[3], .tokens = poison, .wanted = StepWanted::last_logits, .ranked = request}};
    step = engine->step(pieces);
    ASSERT_TRUE(step.has_value());
    ASSERT_TRUE((*step)[0].has_value());
    EXPECT_EQ((*step)[1].error().kind, ErrorKind::numeric);
    for (size_t i = 0; i < 3; ++i) EXPECT_EQ((*step)[0]->ranked->first[i].token, expected.first[i].token);
    std::filesystem::remove(path);
}

TEST(Step, LackingPagesRefuseOnePieceAndChangeNothing) {
    EngineSettings settings = small_settings(golden("qwen3"));
    settings.chunk = 128;
    settings.cache_positions = 192;  // of 3 sequences of 128
    for (const auto& [name, engine] : engines_of(settings)) {
        ASSERT_NE(engine, nullptr);
        ASSERT_FALSE(engine->plan().notes.empty());
        EXPECT_NE(engine->plan().notes.back().find("has pages for 192 positions and not for all 384 of 3 sequences"),
                  std::string::npos);
        EXPECT_EQ(engine->cache().units(), 3);
        const std::vector<int32_t> tokens = some_of(60, 1), other = some_of(68, 2);
        const StepPiece pieces[] = {{.sequence = engine->cache().add_sequence("a"), .tokens = tokens},
                                    {.sequence = engine->cache().add_sequence("b"), .tokens = other}};
        const auto step = engine->step(pieces);
        ASSERT_TRUE(step.has_value() && (*step)[0].has_value() && (*step)[1].has_value());
        const std::vector<int32_t> more = some_of(5, 3);
        const StepPiece grown{.sequence = pieces[0].sequence, .tokens = more};
        const auto refused = engine->step({&grown, 1});
        ASSERT_TRUE(refused.has_value());
        ASSERT_FALSE(refused->front().has_value());
        EXPECT_EQ(refused->front().error().kind, ErrorKind::busy);
        EXPECT_EQ(engine->cache().length(grown.sequence), 60);
        engine->cache().remove_sequence(pieces[1].sequence);
        const auto granted = engine->step({&grown, 1});
        ASSERT_TRUE(granted.has_value() && granted->front().has_value());
        const std::vector<float> logits = copied(granted->front()->logits);
        engine->cache().remove_sequence(pieces[0].sequence);
        std::vector<int32_t> all = tokens;
        all.insert(all.end(), more.begin(), more.end());
        EXPECT_EQ(differing(logits, alone(*engine, all)), 0) << name;
    }
}

// ---- windows

TEST(Step, AWindowsPagesAreGivenBackWithoutAChangeInAnyLogit) {
    EngineSettings settings = small_settings(golden("mistral-window"));  // a window of 5
    settings.context = 256;
    settings.sequences = 2;
    int64_t compared = 0;
    for (const auto& [name, engine] : engines_of(settings)) {
        ASSERT_NE(engine, nullptr);
        ASSERT_EQ(engine->cache().layers()[0].window, 5);
        EXPECT_EQ(engine->cache().units(), 2 * 2) << "4 + 16 positions in a row lie in 2 pages";
        // The whole context in one pass that nothing is given back in.
        const std::vector<int32_t> tokens = some_of(250, 9);
        const std::vector<float> stepwise = logits_of(*engine, tokens, 200, 16);
        EngineSettings roomy = settings;
        roomy.chunk = 256;
        roomy.logits_rows = 256;
        const auto whole = opened(roomy);
        ASSERT_NE(whole, nullptr);
        const std::vector<float> at_once = logits_of(*whole, tokens, 250, 256);
        EXPECT_EQ(differing(stepwise, at_once), 0) << name;
        compared += std::ssize(stepwise);
        Session session(*engine);
        ASSERT_TRUE(advance_to(session, tokens, nullptr).has_value());
        int64_t held = 0;
        for (const int32_t page : engine->cache().pages_of(session.sequence(), 0)) held += page != kNoUnit ? 1 : 0;
        EXPECT_LE(held, 2) << "of 4 pages of the sequence";
        EXPECT_EQ(engine->cache().pages_of(session.sequence(), 0).size(), 4u);
    }
    std::printf("[window] %ld logits with pages given back and without: 0 differ\n", static_cast<long>(compared));
    EXPECT_GT(compared, 10'000);
}

// ---- prefixes

TEST(Step, SharedForkedAndAttachedPrefixesGiveTheLogitsOfComputingEverything) {
    int64_t compared = 0;
    for (const char* model : {"llama", "mistral-window", "qwen3", "qwen3moe"}) {
        EngineSettings settings = small_settings(golden(model));
        settings.context = 200;
        settings.sequences = 4;
        for (const auto& [name, engine] : engines_of(settings)) {
            ASSERT_NE(engine, nullptr);
            std::vector<int32_t> base = some_of(140, 1), edited = base;
            for (size_t i = 100; i < edited.size(); ++i) edited[i] = (edited[i] + 17) % 40;
            const std::vector<float> of_base = alone(*engine, base), of_edited = alone(*engine, edited);
            const std::string where = fmt::format("{} on {}", model, name);

            Session session(*engine);
            ASSERT_TRUE(advance_to(session, base, nullptr).has_value());
            // A fork in the middle of a page: both go on, each with its own.
            const int32_t fork = engine->cache().fork(session.sequence());
            const std::vector<int32_t> left = some_of(3, 7), right = some_of(3, 8);
            const StepPiece pieces[] = {{.sequence = session.sequence(), .tokens = left},
                                        {.sequence = fork, .tokens = right}};
            const auto step = engine->step(pieces);
            ASSERT_TRUE(step.has_value() && (*step)[0].has_value() && (*step)[1].has_value()) << where;
            const std::vector<float> of_left = copied((*step)[0]->logits), of_right = copied((*step)[1]->logits);
            engine->cache().remove_sequence(fork);
            for (const auto& [logits, rest] : {std::pair(&of_left, &left), std::pair(&of_right, &right)}) {
                std::vector<int32_t> all = base;
                all.insert(all.end(), rest->begin(), rest->end());
                EXPECT_EQ(differing(*logits, alone(*engine, all)), 0) << where << ", fork";
            }
            // An edit: the common part is kept, or what of it is still known.
            const auto after_edit = advance_to(session, edited, nullptr);
            ASSERT_TRUE(after_edit.has_value());
            EXPECT_EQ(differing(copied(*after_edit), of_edited), 0) << where << ", edit";
            if (std::string(model) != "mistral-window") EXPECT_EQ(session.reused_tokens(), 100) << where;
            // Another session of the same tokens takes whole pages over.
            Session other(*engine);
            const auto attached = advance_to(other, base, nullptr);
            ASSERT_TRUE(attached.has_value());
            if (std::string(model) != "mistral-window") EXPECT_GE(other.reused_tokens(), 64) << where;
            EXPECT_EQ(differing(copied(*attached), of_base), 0) << where << ", attached";
            compared += 4 * std::ssize(of_base);
        }
    }
    std::printf("[prefix] %ld logits behind shared prefixes and recomputed: 0 differ\n", static_cast<long>(compared));
    EXPECT_GT(compared, 1000);
}

}  // namespace
}  // namespace invar
