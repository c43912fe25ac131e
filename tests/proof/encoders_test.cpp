// Encoders: hidden states of directories as transformers saves them and of their GGUF twins by llama.cpp's converter,
// compared with == with each other and with what transformers computes in float64 (tests/data/goldens_hf, made by
// tools/fixtures/goldens_families.py). A text is one pass; texts beside each other do not change a bit.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "engine/engine.h"
#include "engine/engine_settings.h"
#include "proof/diff/diff_checkpoints.h"
#include "proof/golden.h"
#include "proof/reference64/reference64.h"

namespace invar {
namespace {

const char* const kModels[] = {"bert", "nomic-bert", "modernbert", "embedding-gemma"};

struct How {
    FormRequest form = FormRequest::automatic;
    int threads = 2;
    std::optional<Isa> isa = std::nullopt;
};

Result<std::unique_ptr<Engine>> open(const std::filesystem::path& model, const How& how, int64_t context = 32) {
    EngineSettings settings{.model = model};
    settings.threads = how.threads;
    settings.form = how.form;
    settings.isa = how.isa;
    settings.cache_type = CacheType::f32;
    settings.context = context;
    settings.sequences = 3;
    return Engine::open(settings, nullptr);
}

using Texts = std::vector<std::vector<int32_t>>;

// The hidden states of each text, all in one step.
Result<std::vector<std::vector<float>>> hidden_of(Engine& engine, const Texts& texts) {
    std::vector<StepPiece> pieces;
    for (const std::vector<int32_t>& text : texts) {
        pieces.push_back({.sequence = engine.cache().add_sequence(), .tokens = text, .wanted = StepWanted::all_logits});
    }
    TRY_ASSIGN(const StepResults results, engine.step(pieces));
    std::vector<std::vector<float>> hidden;
    for (size_t i = 0; i < pieces.size(); ++i) {
        engine.cache().remove_sequence(pieces[i].sequence);
        if (!results[i]) return tl::unexpected<Error>(results[i].error());
        hidden.emplace_back(results[i]->logits.begin(), results[i]->logits.end());
    }
    return hidden;
}

TEST(Encoders, ComputeWhatTransformersComputesInBothContainersWithTheSameBits) {
    int compared = 0;
    for (const std::string name : kModels) {
        const Golden golden = golden_of(name, "hidden");
        std::vector<float> first;
        for (const std::string end : {"", ".gguf"}) {
            std::vector<How> ways = {
                {}, {.threads = 1}, {.form = FormRequest::as_stored}, {.form = FormRequest::as_stored, .threads = 1}};
            for (int isa = 0; isa <= static_cast<int>(detect_isa().highest()); ++isa) {
                if (detect_isa().has(static_cast<Isa>(isa))) ways.push_back({.isa = static_cast<Isa>(isa)});
            }
            for (const How& how : ways) {
                const auto engine = open(kGoldens / (name + end), how);
                ASSERT_TRUE(engine) << name << end << ": " << engine.error().message;
                EXPECT_EQ((*engine)->config().result, ModelResult::hidden);
                const auto hidden = hidden_of(**engine, {golden.tokens});
                ASSERT_TRUE(hidden) << name << end << ": " << hidden.error().message;
                ASSERT_EQ(hidden->front().size(), golden.values.size()) << name << end;
                EXPECT_LT(relative_rms(hidden->front(), golden.values), 2e-6) << name << end;
                if (first.empty()) first = hidden->front();
                EXPECT_EQ(hidden->front(), first) << name << end;
                ++compared;
            }
        }
    }
    EXPECT_GE(compared, 4 * 2 * 6);
}

TEST(Encoders, TheReferenceComputesWhatTransformersComputes) {
    for (const std::string name : kModels) {
        const Golden golden = golden_of(name, "hidden");
        const auto reference = Reference64::open({.model = kGoldens / name, .context = 32});
        ASSERT_TRUE(reference) << reference.error().message;
        const int32_t sequence = (*reference)->cache().add_sequence();
        const Batch batch = all_rows_of(golden.tokens, sequence);
        ASSERT_TRUE((*reference)->cache().reserve(sequence, std::ssize(golden.tokens)));
        const auto hidden = (*reference)->evaluate(batch, {});
        ASSERT_TRUE(hidden) << hidden.error().message;
        ASSERT_EQ(hidden->size(), golden.values.size());
        EXPECT_LT(relative_rms(*hidden, golden.values), 1e-7) << name;
    }
}

TEST(Encoders, TextsBesideEachOtherGetTheBitsTheyGetAlone) {
    for (const std::string name : kModels) {
        const Golden golden = golden_of(name, "hidden");
        const auto engine = open(kGoldens / name, {});
        ASSERT_TRUE(engine) << engine.error().message;
        const std::span<const int32_t> tokens(golden.tokens);
        const Texts texts = {{tokens.begin(), tokens.end()}, {tokens[5]}, {tokens.begin() + 2, tokens.begin() + 9}};
        const auto together = hidden_of(**engine, texts);
        ASSERT_TRUE(together) << together.error().message;
        for (size_t i = 0; i < texts.size(); ++i) {
            const auto alone = hidden_of(**engine, {texts[i]});
            ASSERT_TRUE(alone) << alone.error().message;
            EXPECT_EQ(alone->front(), (*together)[i]) << name << ", text " << i;
        }
        // A text is not the beginning of another: what follows changes every row.
        const auto beginning = hidden_of(**engine, {{tokens.begin(), tokens.begin() + 7}});
        ASSERT_TRUE(beginning);
        EXPECT_NE(beginning->front(),
                  std::vector<float>((*together)[0].begin(), (*together)[0].begin() + std::ssize(beginning->front())));
    }
}

TEST(Encoders, ATextInPiecesAndOneThatIsTooLongAreRefused) {
    const Golden golden = golden_of("nomic-bert", "hidden");
    const auto engine = open(kGoldens / "nomic-bert", {}, 20);
    ASSERT_TRUE(engine) << engine.error().message;
    EXPECT_EQ((*engine)->chunk(), 20) << "a pass takes the whole context";
    EXPECT_TRUE(std::ranges::any_of((*engine)->plan().notes, [](const std::string& note) {
        return note.find("attention sees both ways, so a text is one pass") != std::string::npos;
    }));
    const int32_t sequence = (*engine)->cache().add_sequence();
    StepPiece piece{.sequence = sequence, .tokens = golden.tokens, .wanted = StepWanted::all_logits};
    ASSERT_TRUE((*(*engine)->step({&piece, 1})).front());
    piece.tokens = std::span(golden.tokens).first(1);
    const auto second = (*engine)->step({&piece, 1});
    ASSERT_TRUE(second);
    ASSERT_FALSE(second->front());
    EXPECT_NE(second->front().error().message.find("13 tokens of it came before"), std::string::npos)
        << second->front().error().message;
    const std::vector<int32_t> longer(21, 1);
    piece = {.sequence = (*engine)->cache().add_sequence(), .tokens = longer, .wanted = StepWanted::all_logits};
    const auto third = (*engine)->step({&piece, 1});
    ASSERT_TRUE(third);
    EXPECT_FALSE(third->front());
}

TEST(Encoders, DiffFindsNoDifferenceBetweenTwins) {
    const auto pool = ThreadPool::create({.threads = 2}).value();
    for (const std::string name : kModels) {
        const auto a = Checkpoint::open(kGoldens / name), b = Checkpoint::open(kGoldens / (name + ".gguf"));
        ASSERT_TRUE(a && b) << name;
        const auto diff = diff_weights(*a, *b, *pool, nullptr);
        ASSERT_TRUE(diff) << name << ": " << diff.error().message;
        EXPECT_EQ(diff->suspicions(), 0) << name << "\n" << diff_as_text(*diff, false);
        EXPECT_GT(diff->tensors.size(), 20u);
        for (const TensorDistance& tensor : diff->tensors)
            EXPECT_EQ(tensor.relative_rms, 0) << name << " " << to_string(tensor.pair->id);
    }
}

}  // namespace
}  // namespace invar
