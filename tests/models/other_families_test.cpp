// Reads the configs of SmolLM3, Seed-OSS, OLMo, EXAONE 4, ERNIE 4.5, Hunyuan, MiniMax M2, Command R7B and StarCoder 2:
// which layers rotate positions and which have a window, in both containers, and the refusal of values without a law.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "models/edited_golden.h"

namespace invar {
namespace {

void expect_error(const std::string& name, const char* changes, std::string_view part) {
    const auto config = config_with(name, changes);
    const std::string error = config ? "no error" : config.error().message;
    EXPECT_NE(error.find(part), std::string::npos) << name << " with " << changes << ": " << error;
}

std::vector<int> ropes_of(const ModelConfig& config) {
    std::vector<int> ropes;
    for (const LayerSpec& layer : config.layers) ropes.push_back(layer.attention()->rope);
    return ropes;
}

std::vector<int> windows_of(const ModelConfig& config) {
    std::vector<int> windows;
    for (const LayerSpec& layer : config.layers) windows.push_back(layer.attention()->window);
    return windows;
}

TEST(OtherFamilies, TellWhichLayersRotateAndWhichHaveWindows) {
    struct Pattern {
        std::string name;
        std::vector<int> ropes, windows;
    };
    const Pattern patterns[] = {{"smollm3", {0, 0, 0, -1}, {0, 0, 0, 0}},
                                {"olmo3", {1, 1, 1, 0}, {5, 5, 5, 0}},
                                {"exaone4", {0, 0, 0, -1}, {5, 5, 5, 0}},
                                {"exaone4-full", {0, 0}, {0, 0}},
                                {"cohere2", {0, 0, 0, -1, 0}, {5, 5, 5, 0, 5}}};
    for (const Pattern& pattern : patterns) {
        for (const char* end : {"", ".gguf"}) {
            const auto config = config_at(kFolder / (pattern.name + end));
            ASSERT_TRUE(config) << config.error().message;
            EXPECT_EQ(ropes_of(*config), pattern.ropes) << pattern.name << end;
            EXPECT_EQ(windows_of(*config), pattern.windows) << pattern.name << end;
        }
    }
    EXPECT_EQ(ropes_of(config_with("smollm3", R"({"no_rope_layers": [0, 1, 0, 1]})").value()),
              (std::vector<int>{-1, 0, -1, 0}));
    EXPECT_EQ(ropes_of(config_with("smollm3", R"({"no_rope_layers": null, "no_rope_layer_interval": 2})").value()),
              (std::vector<int>{0, -1, 0, -1}));
}

TEST(OtherFamilies, ReadTheMixturesAlikeFromBothContainers) {
    for (const char* end : {"", ".gguf"}) {
        const auto ernie = config_at(kFolder / (std::string("ernie4_5_moe") + end));
        ASSERT_TRUE(ernie) << ernie.error().message;
        EXPECT_EQ(ernie->layers[0].dense()->width, 32);
        EXPECT_EQ(ernie->layers[1].mixture()->shared_width, 16);
        EXPECT_TRUE(ernie->layers[1].mixture()->route.renormalise);
        const auto hunyuan = config_at(kFolder / (std::string("hunyuan-moe") + end));
        ASSERT_TRUE(hunyuan) << hunyuan.error().message;
        EXPECT_EQ(hunyuan->layers[1].mixture()->route.experts_per_row, 3);
        EXPECT_EQ(hunyuan->layers[1].mixture()->shared_width, 12);
        EXPECT_TRUE(hunyuan->layers[1].attention()->norms_behind_rope);
        const auto minimax = config_at(kFolder / (std::string("minimax-m2") + end));
        ASSERT_TRUE(minimax) << minimax.error().message;
        EXPECT_EQ(minimax->layers[1].mixture()->route.scoring, RouteSpec::Scoring::sigmoid);
        EXPECT_EQ(minimax->ropes[0].rotary_width, 12);
    }
    const auto raised = config_at(kFolder / "hunyuan-moe-alpha");
    ASSERT_TRUE(raised) << raised.error().message;
    EXPECT_EQ(raised->ropes[0].base, static_cast<double>(static_cast<float>(1e4 * std::pow(1000.0, 16.0 / 14.0))));
}

TEST(OtherFamilies, RefuseValuesWithoutALaw) {
    expect_error("smollm3", R"({"use_sliding_window": true, "sliding_window": 8})", "'use_sliding_window' is true");
    expect_error("smollm3", R"({"no_rope_layers": [1, 1]})", "'no_rope_layers' has 2 numbers, but the model has 4");
    expect_error("seed-oss", R"({"no_rope_layers": [1, 0]})", "'no_rope_layers' is");
    expect_error("olmo3", R"({"rope_scaling": {"rope_type": "dynamic"}})",
                 "rope_type' is 'dynamic', which is not supported");
    expect_error("exaone4", R"({"layer_types": ["full_attention"]})", "names the kinds of 1 layers");
    expect_error("ernie4_5_moe", R"({"moe_norm_min": 0.5})", "'moe_norm_min' is 0.5");
    expect_error("hunyuan-moe", R"({"use_qk_norm": false})", "'use_qk_norm' is false");
    expect_error("hunyuan-moe", R"({"moe_topk": [3, 2]})", "'moe_topk' differs between layers");
    expect_error("minimax-m2", R"({"scoring_func": "softmax"})", "'scoring_func' is 'softmax', but only sigmoid");
    expect_error("minimax-m2", R"({"shared_intermediate_size": 8})", "'shared_intermediate_size' is 8");
    expect_error("cohere2", R"({"use_parallel_block": false})", "'use_parallel_block' is false");
    expect_error("cohere2", R"({"logit_scale": 0})", "'logit_scale' is 0, but must be a positive number");
    expect_error("starcoder2", R"({"hidden_act": "silu"})", "'hidden_act' is 'silu', but only gelu_pytorch_tanh");
}

}  // namespace
}  // namespace invar
