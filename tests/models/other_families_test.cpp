// Reads the configs of SmolLM3, Seed-OSS, OLMo, EXAONE 4, ERNIE 4.5, Hunyuan, MiniMax M2, Command R7B, StarCoder 2,
// LFM2 and Llama 4: which layers rotate positions and which have a window, in both containers, and the refusal of
// values without a law.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "models/edited_golden.h"

namespace invar {
namespace {

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

TEST(OtherFamilies, ReadTheShortConvolutionsOfLfm2AlikeFromBothContainers) {
    for (const std::string name : {"lfm2", "lfm2moe"}) {
        for (const char* end : {"", ".gguf"}) {
            const auto config = config_at(kFolder / (name + end));
            ASSERT_TRUE(config) << config.error().message;
            ASSERT_EQ(config->layers.size(), 3u);
            EXPECT_EQ(config->layers[0].short_convolution()->taps, 3);
            EXPECT_EQ(config->layers[1].attention()->kv_heads, 2);
            EXPECT_EQ(config->recurrences()[2].column_elements, 2 * 32);
            EXPECT_EQ(config->recurrences()[2].state_elements, 0);
            EXPECT_EQ(config->recurrences()[1].column_elements, 0);
            EXPECT_EQ(config->layers[0].dense()->width, name == "lfm2" ? 32 : 28);
            if (name == "lfm2") continue;
            EXPECT_EQ(config->layers[1].mixture()->route.scoring, RouteSpec::Scoring::sigmoid);
            EXPECT_EQ(config->layers[1].mixture()->route.sum_floor, 1e-6f);
        }
    }
    const auto width = [](const char* changes) { return config_with("lfm2", changes)->layers[0].dense()->width; };
    EXPECT_EQ(width(R"({"block_auto_adjust_ff_dim": false})"), 46);
    EXPECT_EQ(width(R"({"block_multiple_of": 7})"), 35);
    EXPECT_EQ(width(R"({"block_ffn_dim_multiplier": 1.3})"), 40);  // of 39
    expect_error("lfm2", R"({"conv_bias": true})", "'conv_bias' is true");
    expect_error("lfm2", R"({"conv_L_cache": 17})", "'conv_L_cache' is 17, but must be between 2 and 16");
    expect_error("lfm2", R"({"conv_L_cache": 1})", "'conv_L_cache' is 1, but must be between 2 and 16");
    expect_error("lfm2", R"({"layer_types": ["conv", "conv", "mamba"]})", "has the kind 'mamba' for layer 2");
    expect_error("lfm2", R"({"block_ffn_dim_multiplier": 1e9})", "a dense part is");
    expect_error("lfm2moe", R"({"use_expert_bias": false})", "'use_expert_bias' is false, but tensor");
}

TEST(OtherFamilies, ReadLlama4AlikeFromBothContainers) {
    for (const char* end : {"", ".gguf"}) {
        const auto config = config_at(kFolder / (std::string("llama4") + end));
        ASSERT_TRUE(config) << config.error().message;
        EXPECT_EQ(ropes_of(*config), (std::vector<int>{0, 0, 0, -1}));
        EXPECT_EQ(config->ropes[0].pairing, RopePairing::adjacent);
        EXPECT_TRUE(config->layers[0].attention()->unit_queries_and_keys);
        EXPECT_FALSE(config->layers[3].attention()->unit_queries_and_keys);
        EXPECT_EQ(config->layers[0].attention()->temperature, PositionScale());
        EXPECT_EQ(config->layers[3].attention()->temperature,
                  (PositionScale{.beta = 0.1f, .length = 8192, .offset = 1}));
        EXPECT_EQ(config->layers[0].dense()->width, 28);
        const MixtureGeometry& mixture = *config->layers[1].mixture();
        EXPECT_EQ(mixture.width, 12);
        EXPECT_EQ(mixture.shared_width, 12);
        EXPECT_TRUE(mixture.weighs_inputs);
        EXPECT_EQ(mixture.route.scoring, RouteSpec::Scoring::sigmoid_of_chosen);
    }
    const auto text = [](const std::string& changes) {
        return config_with("llama4", ("{\"text_config\": {" + changes + "}}").c_str());
    };
    EXPECT_EQ(ropes_of(*text(R"("no_rope_layers": [0, 1, 0, 1])")), (std::vector<int>{-1, 0, -1, 0}));
    EXPECT_EQ(text(R"("attn_temperature_tuning": 0)")->layers[3].attention()->temperature, PositionScale());
    EXPECT_EQ(text(R"("attn_temperature_tuning": 4)")->layers[3].attention()->temperature.length, 8192);
    EXPECT_NE(text(R"("moe_layers": [0])")->layers[0].mixture(), nullptr);
    EXPECT_FALSE(text(R"("use_qk_norm": false)")->layers[0].attention()->unit_queries_and_keys);
    for (const auto& [changes, part] :
         {std::pair(R"("layer_types": ["sliding_attention", "full_attention", "full_attention", "full_attention"])",
                    "has the kind 'sliding_attention' for layer 0"),
          std::pair(R"("no_rope_layers": [1])", "'no_rope_layers' has 1 numbers, but the model has 4"),
          std::pair(R"("floor_scale": 0)", "'floor_scale' is 0"), std::pair(R"("num_experts_per_tok": 5)", "is 5")}) {
        const auto config = text(changes);
        ASSERT_FALSE(config) << changes;
        EXPECT_NE(config.error().message.find(part), std::string::npos) << config.error().message;
    }
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
