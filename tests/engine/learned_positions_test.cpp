// The context of a model with learned positions (tests/data/goldens_hf/gpt2) ends with their table.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "base/json.h"
#include "engine/engine.h"
#include "engine/engine_settings.h"

namespace invar {
namespace {

const std::filesystem::path kFolder = std::filesystem::path(INVAR_TEST_DATA) / "goldens_hf";

// A position without a row in the table is refused before a pass, whether asked for at once or reached step by step.
TEST(LearnedPositions, EndTheContextWithTheTableOfPositions) {
    const auto longer = Engine::open({.model = kFolder / "gpt2", .context = 33}, nullptr);
    ASSERT_FALSE(longer);
    EXPECT_NE(longer.error().message.find("--context 33 is more than the 32 tokens"), std::string::npos)
        << longer.error().message;
    for (const char* name : {"gpt2", "gpt2.gguf"}) {
        const auto engine = Engine::open({.model = kFolder / name}, nullptr);
        ASSERT_TRUE(engine) << engine.error().message;
        EXPECT_EQ((*engine)->context(), 32);
        const int32_t sequence = (*engine)->cache().add_sequence();
        const std::vector<int32_t> tokens(32, 5), one = {5};
        const StepPiece all{.sequence = sequence, .tokens = tokens, .wanted = StepWanted::last_logits};
        const auto full = (*engine)->step({&all, 1});
        ASSERT_TRUE(full && full->front()) << name;
        const StepPiece next{.sequence = sequence, .tokens = one, .wanted = StepWanted::last_logits};
        const auto behind = (*engine)->step({&next, 1});
        const std::string error = !behind            ? behind.error().message
                                  : !behind->front() ? behind->front().error().message
                                                     : "no error";
        EXPECT_NE(error.find("33 tokens were to be computed, but the context holds 32"), std::string::npos) << error;
    }
}

// A table with other rows than the context has is a contradiction.
TEST(LearnedPositions, RefuseATableOfPositionsOfAnotherLength) {
    const std::filesystem::path copy =
        std::filesystem::temp_directory_path() / ("invar_test_" + std::to_string(getpid()) + "_positions");
    std::filesystem::remove_all(copy);
    std::filesystem::copy(kFolder / "gpt2", copy);
    Json config = Json::parse(std::ifstream(copy / "config.json"));
    config["n_positions"] = 64;
    std::ofstream(copy / "config.json") << config;
    const auto engine = Engine::open({.model = copy}, nullptr);
    std::filesystem::remove_all(copy);
    ASSERT_FALSE(engine);
    EXPECT_NE(engine.error().message.find("tensor 'wpe.weight' has shape [32, 32], but the config asks for [64, 32]"),
              std::string::npos)
        << engine.error().message;
}

}  // namespace
}  // namespace invar
