// Reads the configs of gpt-oss, Ministral 3, Phi-3 and Granite from both containers: the numbers that these families
// add, those that GGUF has no key for, the choice between LongRoPE's factors, and the refusal of values without a law.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "models/architecture.h"
#include "models/edited_golden.h"
#include "models/long_rope.h"
#include "models/tiny_model.h"

namespace invar {
namespace {

std::string error_with(const std::string& name, const char* changes) {
    const auto config = config_with(name, changes);
    return config ? "no error" : config.error().message;
}

Result<ModelConfig> gguf_config(const std::string& architecture, const std::function<void(GgufWriter&)>& edit) {
    test::TinyModel tiny = test::tiny(architecture);
    tiny.values = false;
    if (architecture == "gpt-oss" || architecture == "granitemoe") {
        tiny.experts = 8;
        tiny.experts_used = 2;
    }
    tiny.edit_metadata = edit;
    const std::filesystem::path path = tiny.write("scaled_" + architecture + ".gguf");
    Result<ModelConfig> config = config_at(path);
    std::filesystem::remove(path);
    return config;
}

std::string gguf_error(const std::string& architecture, const std::function<void(GgufWriter&)>& edit) {
    const auto config = gguf_config(architecture, edit);
    return config ? "no error" : config.error().message;
}

bool has_note(const ModelConfig& config, std::string_view part) {
    return std::any_of(config.notes.begin(), config.notes.end(),
                       [&](const std::string& note) { return note.find(part) != std::string::npos; });
}

void expect(const std::string& error, std::string_view part) {
    EXPECT_NE(error.find(part), std::string::npos) << error;
}

void add_gpt_oss(GgufWriter& writer) {
    writer.add("gpt-oss.attention.sliding_window", uint32_t{5});
    writer.add("gpt-oss.rope.scaling.type", "yarn");
    writer.add("gpt-oss.rope.scaling.factor", 32.0f);
    writer.add("gpt-oss.rope.scaling.original_context_length", uint32_t{16});
}

TEST(ScaledFamilies, ReadsGptOssAlikeFromBothContainers) {
    for (const std::string end : {"", ".gguf"}) {
        const auto config = config_at(kFolder / ("gpt-oss" + end));
        ASSERT_TRUE(config) << config.error().message;
        ASSERT_EQ(config->layers.size(), 3u);
        for (size_t i = 0; i < 3; ++i) {
            const AttentionGeometry& attention = *config->layers[i].attention();
            EXPECT_EQ(attention.window, i == 1 ? 0 : 5) << i;
            EXPECT_TRUE(attention.sinks);
            const MixtureGeometry& mixture = *config->layers[i].mixture();
            EXPECT_EQ(mixture.activation, (ActivationSpec{Activation::clamped_swiglu, 1.702f, 7.0f}));
            EXPECT_EQ(mixture.route.scoring, RouteSpec::Scoring::softmax_of_chosen);
            EXPECT_EQ(mixture.width, 20);
        }
        EXPECT_FALSE(config->ropes.front().whole_boundaries);
        EXPECT_EQ(has_note(*config, "YaRN's boundaries"), end == ".gguf");
        EXPECT_EQ(has_note(*config, "the even ones do"), end == ".gguf");
        EXPECT_EQ(has_note(*config, "experts' activation limit"), end == ".gguf");
    }
}

TEST(ScaledFamilies, TakesTheClampAndTheBoundariesOfGptOssFromItsConfig) {
    const auto clamp = config_with("gpt-oss", R"({"swiglu_limit": 3.5, "swiglu_alpha": 2})");
    ASSERT_TRUE(clamp) << clamp.error().message;
    EXPECT_EQ(clamp->layers[0].mixture()->activation, (ActivationSpec{Activation::clamped_swiglu, 2.0f, 3.5f}));
    const auto whole = config_with("gpt-oss", R"({"rope_scaling": {"truncate": null}})");
    ASSERT_TRUE(whole) << whole.error().message;
    EXPECT_TRUE(whole->ropes.front().whole_boundaries);
}

TEST(ScaledFamilies, RefusesGptOssWithLawsThatItDoesNotHave) {
    EXPECT_EQ(gguf_error("gpt-oss", add_gpt_oss), "no error");
    expect(gguf_error("gpt-oss",
                      [](GgufWriter& writer) {
                          add_gpt_oss(writer);
                          writer.add("gpt-oss.expert_gating_func", uint32_t{2});
                      }),
           "'gpt-oss.expert_gating_func' is 2, but the router of this architecture computes law 3 only");
    expect(
        gguf_error("gpt-oss", [](GgufWriter& writer) { writer.add("gpt-oss.attention.sliding_window", uint32_t{5}); }),
        "'gpt-oss.rope.scaling.type' is not 'yarn'");
    expect(error_with("gpt-oss", R"({"hidden_act": "gelu"})"), "'hidden_act' is 'gelu', but only silu is supported");
    expect(error_with("gpt-oss", R"({"rope_scaling": {"rope_type": "dynamic"}})"),
           "rope_type' is 'dynamic', which is not supported");
    expect(error_with("gpt-oss", R"({"scoring_func": "sigmoid"})"), "'scoring_func' is 'sigmoid'");
    expect(error_with("gpt-oss", R"({"attention_bias": false})"), "'attention_bias' is false");
}

TEST(ScaledFamilies, ScalesQueriesOfMinistralByPosition) {
    for (const std::string end : {"", ".gguf"}) {
        const auto config = config_at(kFolder / ("ministral3" + end));
        ASSERT_TRUE(config) << config.error().message;
        EXPECT_EQ(config->architecture, "mistral3");
        for (const LayerSpec& layer : config->layers) {
            EXPECT_EQ(layer.attention()->temperature.beta, static_cast<double>(0.1f));
            EXPECT_EQ(layer.attention()->temperature.length, 8);
        }
        const RopeSpec& rope = config->ropes.front();
        EXPECT_NEAR(rope.attn_factor * yarn_attention(rope.factor, 1), 1, 1e-15);
    }
    EXPECT_EQ(config_at(kFolder / "mistral-small")->layers[0].attention()->temperature.beta, 0);
}

TEST(ScaledFamilies, TakesYarnsScaleOfMinistralFromBothOfItsKeys) {
    const double paper = yarn_attention(16, 1);
    const auto factor = [&](const char* changes) {
        const auto config =
            config_with("ministral3", fmt::format(R"({{"text_config": {{"rope_parameters": {}}}}})", changes).c_str());
        EXPECT_TRUE(config) << config.error().message;
        return config ? config->ropes.front().attn_factor * paper : 0;
    };
    EXPECT_NEAR(factor(R"({"mscale": 2.0})"), yarn_attention(16, 2) / paper, 1e-15);
    EXPECT_NEAR(factor(R"({"mscale": 2.0, "mscale_all_dim": null})"), paper, 1e-15);
    EXPECT_NEAR(factor(R"({"mscale": 2.0, "mscale_all_dim": 0})"), paper, 1e-15);
    EXPECT_NEAR(factor(R"({"mscale": null, "mscale_all_dim": null})"), paper, 1e-15);
}

TEST(ScaledFamilies, RefusesAScaleByPositionWithoutALength) {
    expect(gguf_error("mistral3", [](GgufWriter& writer) { writer.add("mistral3.attention.temperature_scale", 0.1f); }),
           "'mistral3.attention.temperature_scale' scales queries by their position, but metadata key "
           "'mistral3.rope.scaling.original_context_length', which it needs, is not there");
    expect(gguf_error("llama", [](GgufWriter& writer) { writer.add("llama.attention.temperature_scale", 0.1f); }),
           "'llama.attention.temperature_scale' scales queries by their position, which is not supported");
}

TEST(ScaledFamilies, ChoosesLongRopeOnceForAContext) {
    for (const std::string end : {"", ".gguf"}) {
        auto config = config_at(kFolder / ("phi3-longrope-long" + end));
        ASSERT_TRUE(config) << config.error().message;
        const RopeSpec& rope = config->ropes.front();
        EXPECT_EQ(rope.rotary_width, 12);
        EXPECT_EQ(rope.frequency_factors, (std::vector<float>{1, 1.125f, 1.25f, 1.375f, 1.5f, 1.75f}));
        EXPECT_EQ(rope.long_factors, (std::vector<float>{1, 2, 3, 4.5f, 6, 7}));
        EXPECT_EQ(rope.original_context, 8);
        EXPECT_EQ(rope.attn_factor,
                  static_cast<double>(static_cast<float>(std::sqrt(1 + std::log(32.0) / std::log(8.0)))));
        choose_for_context(*config, 8);
        EXPECT_FALSE(rope.long_context);
        EXPECT_EQ(chosen_rope(*config), ", short rope");
        EXPECT_TRUE(has_note(*config, "short factors at every position, because the context of 8 is within"));
        const double by_short = RopeTable(rope).frequencies()[5];
        choose_for_context(*config, 9);
        EXPECT_EQ(chosen_rope(*config), ", long rope");
        EXPECT_TRUE(has_note(*config, "long factors at every position, because the context of 9 is longer"));
        EXPECT_NEAR(RopeTable(rope).frequencies()[5] / by_short, 1.75 / 7, 1e-15);
    }
}

TEST(ScaledFamilies, ReadsPhisWindowAndTheWidthOfHeadsInAFusedTensor) {
    for (const std::string end : {"", ".gguf"}) {
        const auto config = config_at(kFolder / ("phi3" + end));
        ASSERT_TRUE(config) << config.error().message;
        EXPECT_EQ(config->layers[1].attention()->key_width, 16);
        EXPECT_EQ(config->layers[1].attention()->window, 5);
        EXPECT_TRUE(has_note(*config, "over 4 heads of queries, keys and values"));
        EXPECT_EQ(config_at(kFolder / ("phi3-longrope-long" + end))->layers[0].attention()->window, 0);
    }
}

TEST(ScaledFamilies, RefusesLongRopeWhoseNumbersDoNotFit) {
    const std::string name = "phi3-longrope-long";
    expect(error_with(name, R"({"rope_scaling": {"long_factor": [1, 2, 3, 4, 5]}})"),
           "'rope_scaling.long_factor' has 5 numbers, but rope turns 6 pairs");
    expect(error_with(name, R"({"rope_scaling": {"short_factor": null}})"),
           "'rope_scaling.short_factor' of the config must be a list");
    expect(error_with(name, R"({"rope_scaling": {"long_factor": [0, 2, 3, 4, 5, 6]}})"),
           "rope frequency factor 0 is not between");
    expect(error_with(name, R"({"rope_scaling": {"long_factor": [true, 2, 3, 4, 5, 6]}})"),
           "must be a list of numbers");
    expect(error_with(name, R"({"rope_scaling": {"type": "longer"}})"), "type' is 'longer', which is not supported");
    expect(error_with(name, R"({"partial_rotary_factor": 1.5})"),
           "'partial_rotary_factor' is 1.5, but at most the whole head can turn");
    expect(error_with(name, R"({"hidden_act": "relu"})"), "'hidden_act' is 'relu'");
}

TEST(ScaledFamilies, RoundsGranitesMultipliersAlikeFromBothContainers) {
    for (const std::string name : {"granite", "granite.gguf", "granitemoe", "granitemoe.gguf"}) {
        const auto config = config_at(kFolder / name);
        ASSERT_TRUE(config) << config.error().message;
        EXPECT_EQ(config->embedding_scale, 12.0f);
        EXPECT_EQ(config->residual_scale, 0.22f);
        EXPECT_EQ(config->logit_scale, 0.125f);
        EXPECT_EQ(config->layers[1].attention()->scale, 0.6f);
        EXPECT_EQ(config->layers[1].attention()->rope, 0);
    }
    EXPECT_EQ(config_with("granite", R"({"attention_multiplier": null})")->layers[0].attention()->scale, 1.0f);
}

TEST(ScaledFamilies, RefusesGraniteWithLawsThatItDoesNotHave) {
    const auto multipliers_of = [](GgufWriter& writer, const std::string& architecture) {
        for (const char* key : {".embedding_scale", ".residual_scale", ".logit_scale"})
            writer.add(architecture + key, 2.0f);
    };
    const auto multipliers = [&](GgufWriter& writer) { multipliers_of(writer, "granite"); };
    const auto scale = [&](GgufWriter& writer) {
        multipliers(writer);
        writer.add("granite.attention.scale", 0.5f);
    };
    EXPECT_EQ(gguf_error("granite", scale), "no error");
    expect(gguf_error("granite", multipliers), "'granite.attention.scale'");
    const auto unrotated = gguf_config("granite", [&](GgufWriter& writer) {
        scale(writer);
        writer.add("granite.rope.scaling.finetuned", false);
    });
    ASSERT_TRUE(unrotated) << unrotated.error().message;
    EXPECT_EQ(unrotated->layers[0].attention()->rope, -1);
    expect(gguf_error("granitemoe",
                      [&](GgufWriter& writer) {
                          multipliers_of(writer, "granitemoe");
                          writer.add("granitemoe.attention.scale", 0.5f);
                          writer.add("granitemoe.expert_gating_func", uint32_t{4});
                      }),
           "'granitemoe.expert_gating_func' is 4, but the router of this architecture computes law 1 or 3 only");
    expect(error_with("granite", R"({"position_embedding_type": "alibi"})"),
           "'position_embedding_type' is 'alibi', but only rope and nope are supported");
    expect(error_with("granite", R"({"hidden_act": "relu2"})"), "'hidden_act' is 'relu2'");
    expect(error_with("granite", R"({"residual_multiplier": -1})"),
           "'residual_multiplier' is -1, but must be a positive number");
    expect(error_with("granitemoe", R"({"routed_scaling_factor": 2.5})"), "'routed_scaling_factor' is 2.5");
}

}  // namespace
}  // namespace invar
