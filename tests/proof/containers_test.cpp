// One model in both containers computes the same bits: directories as transformers saves them against their GGUF twins
// by llama.cpp's converter, weights, hyper-parameters and logits compared with ==, and both against what transformers
// computes in float64 (tests/data/goldens_hf, made by tools/fixtures/goldens_hf.py).
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>

#include "engine/engine.h"
#include "engine/engine_settings.h"
#include "proof/diff/diff_checkpoints.h"
#include "proof/golden.h"
#include "proof/reference64/reference64.h"

namespace invar {
namespace {

const char* const kModels[] = {"llama",
                               "llama-biases",
                               "llama-linear",
                               "mistral",
                               "mistral-window",
                               "mistral-small",
                               "mixtral",
                               "qwen2",
                               "qwen2-yarn",
                               "qwen3",
                               "qwen3moe",
                               "deepseek-v2",
                               "deepseek-v3",
                               "kimi-k2",
                               "deepseek-v2-lite",
                               "glm4",
                               "glm4-moe-lite",
                               "glm4moe",
                               "gemma2",
                               "gemma3",
                               "gemma3-scale",
                               "gemma4-dense",
                               "gemma4-moe",
                               "gemma4-e2b",
                               "qwen2moe",
                               "qwen35",
                               "qwen35moe",
                               "qwen35moe-split",
                               "qwen3next",
                               "qwen3next-dense",
                               "gpt-oss",
                               "gpt-oss-mxfp4",
                               "ministral3",
                               "phi3",
                               "phi3-longrope-long",
                               "phi3-longrope-short",
                               "granite",
                               "granitemoe",
                               "nemotron-h",
                               "nemotron-h-moe",
                               "nemotron-h-latent",
                               "granitehybrid",
                               "granitehybrid-dense",
                               "smollm3",
                               "seed-oss",
                               "olmo2",
                               "olmo3",
                               "exaone4",
                               "exaone4-full",
                               "ernie4_5",
                               "ernie4_5_moe",
                               "hunyuan-dense",
                               "hunyuan-moe",
                               "hunyuan-moe-alpha",
                               "minimax-m2",
                               "cohere2",
                               "starcoder2",
                               "gpt2",
                               "gpt-neox",
                               "gpt-neox-serial",
                               "falcon",
                               "falcon-groups",
                               "lfm2",
                               "lfm2moe",
                               "llama4",
                               "llama4-chunked"};
bool has_twin(const std::string& name) {
    return name != "mistral-window" && name != "gemma3-scale" && name != "qwen3next-dense" &&
           name != "hunyuan-moe-alpha" && name != "llama4-chunked";
}
constexpr int kTwins = std::size(kModels) - 5;

struct How {
    FormRequest form = FormRequest::automatic;
    int64_t chunk = 32;
    int threads = 2;
    std::optional<Isa> isa = std::nullopt;
};

// Logits of every position, or the error.
Result<std::vector<float>> logits_of(const std::filesystem::path& model, const std::vector<int32_t>& tokens,
                                     const How& how) {
    EngineSettings settings{.model = model};
    settings.threads = how.threads;
    settings.form = how.form;
    settings.isa = how.isa;
    settings.cache_type = CacheType::f32;
    settings.context = 32;
    settings.chunk = how.chunk;
    settings.logits_rows = how.chunk;
    TRY_ASSIGN(const std::unique_ptr<Engine> engine, Engine::open(settings, nullptr));
    const int32_t sequence = engine->cache().add_sequence();
    std::vector<float> logits;
    for (size_t start = 0; start < tokens.size(); start += static_cast<size_t>(how.chunk)) {
        const std::span<const int32_t> rest = std::span(tokens).subspan(start);
        const StepPiece piece{.sequence = sequence,
                              .tokens = rest.first(std::min(rest.size(), static_cast<size_t>(how.chunk))),
                              .wanted = StepWanted::all_logits};
        TRY_ASSIGN(StepResults results, engine->step({&piece, 1}));
        TRY_ASSIGN(const StepOutput output, std::move(results.front()));
        logits.insert(logits.end(), output.logits.begin(), output.logits.end());
    }
    return logits;
}

TEST(Containers, DirectoriesComputeWhatTransformersComputes) {
    for (const std::string name : kModels) {
        const Golden golden = golden_of(name, "logits");
        ASSERT_FALSE(golden.values.empty()) << name;
        const auto logits = logits_of(kGoldens / name, golden.tokens, {});
        ASSERT_TRUE(logits) << name << ": " << logits.error().message;
        ASSERT_EQ(logits->size(), golden.values.size()) << name;
        // Binary32 against float64; rope's frequencies are exact. Products with MXFP4 round activations to 8 bits.
        EXPECT_LT(relative_rms(*logits, golden.values), name == "gpt-oss-mxfp4" ? 0.03 : 2e-6) << name;
    }
}

// The float64 reference does not round activations, so that of MXFP4 the weights and the formulas alone are compared.
TEST(Containers, TheReferenceOfMxfp4ComputesWhatTransformersComputes) {
    const Golden golden = golden_of("gpt-oss-mxfp4", "logits");
    for (const char* end : {"", ".gguf"}) {
        const auto reference =
            Reference64::open({.model = kGoldens / (std::string("gpt-oss-mxfp4") + end), .context = 32});
        ASSERT_TRUE(reference) << reference.error().message;
        const int32_t sequence = (*reference)->cache().add_sequence();
        const Batch batch = all_rows_of(golden.tokens, sequence);
        ASSERT_TRUE((*reference)->cache().reserve(sequence, std::ssize(golden.tokens)));
        const auto logits = (*reference)->evaluate(batch, {});
        ASSERT_TRUE(logits) << logits.error().message;
        EXPECT_LT(relative_rms(*logits, golden.values), 2e-7) << end;
    }
}

TEST(Containers, TwinsComputeTheSameBits) {
    int compared = 0;
    for (const std::string name : kModels) {
        if (!has_twin(name)) continue;
        const Golden golden = golden_of(name, "logits");
        for (const FormRequest form : {FormRequest::automatic, FormRequest::as_stored}) {
            const auto directory = logits_of(kGoldens / name, golden.tokens, {.form = form});
            const auto gguf = logits_of(kGoldens / (name + ".gguf"), golden.tokens, {.form = form});
            ASSERT_TRUE(directory && gguf) << name;
            ASSERT_EQ(directory->size(), gguf->size());
            EXPECT_EQ(std::memcmp(directory->data(), gguf->data(), gguf->size() * sizeof(float)), 0) << name;
            ++compared;
        }
    }
    EXPECT_EQ(compared, 2 * kTwins);
}

// Of every model, whatever its layers carry from token to token.
TEST(Containers, ChunksThreadsAndFormsComputeTheSameBits) {
    int compared = 0;
    for (const std::string name : kModels) {
        const Golden golden = golden_of(name, "logits");
        const auto whole = logits_of(kGoldens / name, golden.tokens, {});
        ASSERT_TRUE(whole) << name << ": " << whole.error().message;
        ASSERT_EQ(whole->size(), golden.values.size()) << name;
        for (const How& how : {How{.chunk = 1}, How{.chunk = 7}, How{.threads = 1}, How{.chunk = 7, .threads = 1},
                               How{.form = FormRequest::as_stored, .chunk = 7},
                               How{.form = FormRequest::as_stored, .chunk = 1, .threads = 1}}) {
            const auto logits = logits_of(kGoldens / name, golden.tokens, how);
            ASSERT_TRUE(logits) << name << ": " << logits.error().message;
            ASSERT_EQ(logits->size(), whole->size());
            EXPECT_EQ(std::memcmp(logits->data(), whole->data(), whole->size() * sizeof(float)), 0)
                << name << ", chunks of " << how.chunk << ", threads " << how.threads;
            ++compared;
        }
    }
    EXPECT_EQ(compared, 6 * static_cast<int>(std::size(kModels)));
}

TEST(Containers, InstructionSetsComputeTheSameBits) {
    int compared = 0, sets = 0;
    for (int one = 0; one <= static_cast<int>(detect_isa().highest()); ++one) {
        const auto isa = static_cast<Isa>(one);
        if (!detect_isa().has(isa)) continue;
        ++sets;
        for (const std::string name : kModels) {
            const Golden golden = golden_of(name, "logits");
            const auto best = logits_of(kGoldens / name, golden.tokens, {.chunk = 7});
            const auto logits = logits_of(kGoldens / name, golden.tokens, {.chunk = 7, .isa = isa});
            ASSERT_TRUE(best && logits) << name << ": " << (logits ? best : logits).error().message;
            ASSERT_EQ(best->size(), golden.values.size()) << name;
            EXPECT_EQ(std::memcmp(logits->data(), best->data(), best->size() * sizeof(float)), 0)
                << name << ", " << isa_name(isa);
            ++compared;
        }
    }
    EXPECT_EQ(compared, sets * static_cast<int>(std::size(kModels)));
    EXPECT_GE(sets, 1);
}

// A file from before key_length_mla (made by tools/fixtures/legacy_latent.py): one projection of keys and values, and
// no key for the kind of router.
TEST(Containers, AnOldFileOfLatentAttentionComputesTheSameBits) {
    const Golden golden = golden_of("deepseek-v2", "logits");
    for (const FormRequest form : {FormRequest::automatic, FormRequest::as_stored}) {
        const auto today = logits_of(kGoldens / "deepseek-v2.gguf", golden.tokens, {.form = form});
        const auto old = logits_of(kGoldens / "deepseek-v2-legacy.gguf", golden.tokens, {.form = form});
        ASSERT_TRUE(today) << today.error().message;
        ASSERT_TRUE(old) << old.error().message;
        ASSERT_EQ(old->size(), golden.values.size());
        EXPECT_EQ(std::memcmp(today->data(), old->data(), old->size() * sizeof(float)), 0);
    }
}

// The same numbers in Mistral's own layout (tests/data/goldens_mistral, made by tools/fixtures/mistral_layout.py).
TEST(Containers, MistralsOwnLayoutComputesTheSameBits) {
    const std::filesystem::path own = std::filesystem::path(INVAR_TEST_DATA) / "goldens_mistral";
    struct Twins {
        std::string name;
        std::filesystem::path directory, others[2];
    };
    const Twins all[] = {{"mistral", own / "mistral", {kGoldens / "mistral", kGoldens / "mistral.gguf"}},
                         {"mixtral", own / "mixtral", {kGoldens / "mixtral", kGoldens / "mixtral.gguf"}},
                         {"ministral3", own / "ministral3", {kGoldens / "ministral3", kGoldens / "ministral3.gguf"}},
                         {"mistral", own / "mistral-fp8", {own / "mistral-fp8-hf", {}}}};
    const auto pool = ThreadPool::create({.threads = 2}).value();
    int compared = 0;
    for (const Twins& twins : all) {
        const Golden golden = golden_of(twins.name, "logits");
        for (const FormRequest form : {FormRequest::automatic, FormRequest::as_stored}) {
            const auto ours = logits_of(twins.directory, golden.tokens, {.form = form});
            ASSERT_TRUE(ours) << ours.error().message;
            ASSERT_EQ(ours->size(), golden.values.size());
            for (const std::filesystem::path& other : twins.others) {
                if (other.empty()) continue;
                const auto theirs = logits_of(other, golden.tokens, {.form = form});
                ASSERT_TRUE(theirs) << theirs.error().message;
                EXPECT_EQ(*ours, *theirs) << other;
                ++compared;
            }
            EXPECT_LT(relative_rms(*ours, golden.values), twins.others[1].empty() ? 0.2 : 2e-6) << twins.directory;
        }
        for (const std::filesystem::path& other : twins.others) {
            if (other.empty()) continue;
            const auto a = Checkpoint::open(twins.directory), b = Checkpoint::open(other);
            ASSERT_TRUE(a && b);
            const auto diff = diff_weights(*a, *b, *pool, nullptr);
            ASSERT_TRUE(diff) << diff.error().message;
            EXPECT_EQ(diff->suspicions(), 0) << diff_as_text(*diff, false);
            for (const TensorDistance& tensor : diff->tensors)
                EXPECT_TRUE(tensor.equal_bits) << to_string(tensor.pair->id);
        }
    }
    EXPECT_EQ(compared, 14);
}

TEST(Containers, DiffFindsNoDifferenceBetweenTwins) {
    const auto pool = ThreadPool::create({.threads = 2}).value();
    int compared = 0;
    for (const std::string name : kModels) {
        if (!has_twin(name)) continue;
        const auto a = Checkpoint::open(kGoldens / name), b = Checkpoint::open(kGoldens / (name + ".gguf"));
        ASSERT_TRUE(a && b) << name;
        const auto diff = diff_weights(*a, *b, *pool, nullptr);
        ASSERT_TRUE(diff) << name << ": " << diff.error().message;
        EXPECT_EQ(diff->suspicions(), 0) << name << "\n" << diff_as_text(*diff, false);
        EXPECT_GT(diff->tensors.size(), 8u);
        for (const TensorDistance& tensor : diff->tensors) {
            EXPECT_EQ(tensor.relative_rms, 0) << name << " " << to_string(tensor.pair->id);
            ++compared;
        }
    }
    EXPECT_GT(compared, 100);
}

}  // namespace
}  // namespace invar
