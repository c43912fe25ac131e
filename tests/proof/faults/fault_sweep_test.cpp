// Every fault at every place of tiny models of every architecture, and of the demonstration models: each must strike,
// be caught, and be located at its verb, layer, position and element. The tables are printed.
#include <gtest/gtest.h>
#include <unistd.h>

#include <set>

#include "engine/engine_settings.h"
#include "files/gguf.h"
#include "make/quantize.h"
#include "models/tiny_model.h"
#include "proof/faults/fault_suite.h"

namespace invar {
namespace {

using test::tiny;
using test::TinyModel;

FaultTable run(EngineSettings settings, int64_t most_places) {
    if (settings.context == 0) settings.context = 128;
    const auto engine = Engine::open(settings, nullptr);
    EXPECT_TRUE(engine) << engine.error().message;
    if (!engine) return {};
    EngineRunner runner(**engine);
    const auto table = run_faults(runner, {.most_places = most_places});
    EXPECT_TRUE(table) << table.error().message;
    return table ? *table : FaultTable();
}

void expect_all_located(const FaultTable& table) {
    std::printf("%s\n", fault_table_text(table).c_str());
    const FaultTableRow total = table.total();
    EXPECT_GT(total.places, 0);
    EXPECT_EQ(total.struck, total.places);
    EXPECT_EQ(total.caught, total.places);
    EXPECT_EQ(total.located, total.places);
    EXPECT_EQ(table.clean_differing, 0);
    EXPECT_TRUE(table.all_located());
    // The faults are not so gross that any rule would see them.
    EXPECT_GT(total.pass_logits_rule, total.places / 4);
    EXPECT_GT(total.pass_stage_rule, total.places / 10);
}

FaultTable run_tiny(const std::string& architecture, FormatId format, EngineSettings settings,
                    int64_t most_places = 0) {
    TinyModel model = tiny(architecture);
    model.matrix_format = format;
    settings.model = model.write("faults.gguf");
    FaultTable table = run(settings, most_places);
    std::filesystem::remove(settings.model);
    return table;
}

constexpr FormRequest kAsStored = FormRequest::as_stored;

TEST(FaultSweep, LocatesEveryFaultInDenseModelsWithBiases) {
    expect_all_located(run_tiny("qwen2", FormatId::q4_k, {.threads = 2}));
    expect_all_located(run_tiny("qwen2", FormatId::bf16, {.threads = 1, .form = kAsStored}));
}

TEST(FaultSweep, LocatesEveryFaultInDenseModelsWithHeadNorms) {
    expect_all_located(run_tiny("qwen3", FormatId::q8_0, {.threads = 2}));
    expect_all_located(run_tiny("qwen3", FormatId::nvfp4, {.threads = 1, .cache_type = CacheType::bf16}));
}

TEST(FaultSweep, LocatesEveryFaultInMixturesOfExperts) {
    expect_all_located(run_tiny("qwen3moe", FormatId::q6_k, {.threads = 2}));
    expect_all_located(run_tiny("qwen3moe", FormatId::mxfp4, {.threads = 1, .form = kAsStored}));
}

// Models of other families have faults that no model above has. Where a fault changes nothing in a tiny model (a clamp
// that is never reached), it has not struck; every other one must be located.
TEST(FaultSweep, LocatesFaultsInEveryFamilyWithVerbsOfItsOwn) {
    int64_t places = 0, located = 0;
    std::set<std::string> kinds;
    for (const char* name : {"gemma4-e2b", "gemma4-moe", "qwen35moe", "gpt-oss", "deepseek-v3", "nemotron-h-moe",
                             "granitehybrid", "lfm2moe", "llama4", "gpt2", "falcon", "ministral3"}) {
        const FaultTable table =
            run({.model = std::filesystem::path(INVAR_TEST_DATA) / "goldens_hf" / (std::string(name) + ".gguf"),
                 .threads = 1,
                 .context = name == std::string("gpt2") ? 32 : 128},  // it has no more positions
                3);
        const FaultTableRow total = table.total();
        EXPECT_EQ(table.clean_differing, 0) << name;
        EXPECT_TRUE(table.missed.empty()) << name << "\n" << fault_table_text(table);
        EXPECT_EQ(total.located, total.struck) << name;
        EXPECT_EQ(total.struck + std::ssize(table.no_effect), total.places) << name;
        EXPECT_LT(std::ssize(table.no_effect), total.places / 10) << name << "\n" << fault_table_text(table);
        for (const FaultTableRow& row : table.rows)
            if (row.located > 0) kinds.insert(row.fault);
        places += total.places;
        located += total.located;
    }
    std::printf("[families] %ld places, %ld faults located, %zu kinds\n", static_cast<long>(places),
                static_cast<long>(located), kinds.size());
    for (const char* kind : {"wrong_cache_layer", "wrong_learned_position", "kept_state", "state_one_late",
                             "misordered_value_heads", "reversed_taps", "dropped_sinks", "biased_weights",
                             "ignored_groups", "missing_route_factor", "missing_softcap", "missing_multiplier"})
        EXPECT_TRUE(kinds.contains(kind)) << kind;
}

void expect_all_located_in_demonstration(const std::string& name, const std::string& mix) {
    EngineSettings settings{.model = std::filesystem::path(INVAR_MODELS) / (name + ".gguf"), .threads = 2};
    if (!std::filesystem::exists(settings.model)) GTEST_SKIP() << settings.model << " is not there";
    const std::filesystem::path folder = std::filesystem::temp_directory_path();
    const std::filesystem::path quantized = folder / ("invar_faults_" + std::to_string(getpid()) + ".gguf");
    if (!mix.empty()) {
        const auto file = GgufFile::open(settings.model);
        ASSERT_TRUE(file);
        ASSERT_TRUE(quantize(*file, {.mix = mix}, quantized));
        settings.model = quantized;
    }
    const FaultTable table = run(settings, 0);
    std::filesystem::remove(quantized);
    expect_all_located(table);
}

TEST(FaultSweep, LocatesEveryFaultInTheDenseDemonstration) {
    expect_all_located_in_demonstration("demo-dense", "q4_k_m");
}

TEST(FaultSweep, LocatesEveryFaultInTheMixtureDemonstration) { expect_all_located_in_demonstration("demo-moe", ""); }

}  // namespace
}  // namespace invar
