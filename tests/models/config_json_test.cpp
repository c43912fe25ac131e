// Reads config.json of tiny directories: keys that would be left out, keys that contradict each other or the tensors,
// and kinds of layers. Each refusal names its key, and the neighbouring values that are right are read.
#include "models/config_json.h"

#include <gtest/gtest.h>

#include "checkpoint/tiny_directory.h"
#include "models/architecture.h"

namespace invar {
namespace {

using test::TinyDirectory;

std::string replaced(std::string text, std::string_view what, std::string_view with) {
    const size_t at = text.find(what);
    EXPECT_NE(at, std::string::npos) << what;
    return at == std::string::npos ? text : text.replace(at, what.size(), with);
}

Result<ModelConfig> config_of(TinyDirectory& tiny) {
    TRY_ASSIGN(const Checkpoint checkpoint, tiny.open());
    TRY_ASSIGN(const Architecture* architecture, find_architecture(checkpoint));
    return architecture->read_config(checkpoint);
}

Result<ModelConfig> config_of(std::string_view model_type, std::string_view more, int layers = 1) {
    TinyDirectory tiny = test::tiny_directory(more);
    tiny.config = replaced(tiny.config, "\"llama\"", fmt::format("\"{}\"", model_type));
    tiny.config = replaced(tiny.config, "\"num_hidden_layers\":1", fmt::format("\"num_hidden_layers\":{}", layers));
    return config_of(tiny);
}

std::string error_of(std::string_view model_type, std::string_view more, int layers = 1) {
    const auto config = config_of(model_type, more, layers);
    return config ? "no error" : config.error().message;
}

// The config with one of its pairs replaced.
std::string error_with(std::string_view pair, std::string_view with) {
    TinyDirectory tiny = test::tiny_directory();
    tiny.config = replaced(tiny.config, pair, with);
    const auto config = config_of(tiny);
    return config ? "no error" : config.error().message;
}

std::vector<int> windows(std::string_view model_type, std::string_view more, int layers) {
    const auto config = config_of(model_type, more, layers);
    EXPECT_TRUE(config) << config.error().message;
    std::vector<int> found;
    if (!config) return found;
    for (const LayerSpec& layer : config->layers) found.push_back(layer.attention()->window);
    return found;
}

TEST(ConfigJson, RefusesNumbersThatBinary32DoesNotHold) {
    EXPECT_EQ(error_with("1e-5", "1e300"),
              "tiny: the key 'rms_norm_eps' is 1e+300, but must be a positive number that binary32 holds (1.18e-38 to "
              "3.4e+38)");
    EXPECT_NE(error_with("1e-5", "1e-60").find("'rms_norm_eps' is 1e-60"), std::string::npos);
    EXPECT_NE(error_with("10000.0", "1e39").find("'rope_theta' is 1e+39"), std::string::npos);
    EXPECT_EQ(error_with("1e-5", "1e-6"), "no error");
    EXPECT_NE(error_of("llama", R"(,"rope_scaling":{"type":"linear","factor":1e39})").find("'rope_scaling.factor'"),
              std::string::npos);
}

TEST(ConfigJson, GivesEachLayerTheWindowOfItsKind) {
    const std::string kinds = R"(,"layer_types":["full_attention","sliding_attention","full_attention"])";
    const std::string window = R"(,"sliding_window":8)";
    EXPECT_EQ(windows("mistral", kinds + window, 3), (std::vector<int>{0, 8, 0}));
    const std::string used = R"(,"use_sliding_window":true,"max_window_layers":0)";
    EXPECT_EQ(windows("qwen3", kinds + window + used, 3), (std::vector<int>{0, 8, 0}));
    EXPECT_EQ(windows("qwen3", window + used, 3), (std::vector<int>{8, 8, 8}));
    const std::string full = R"(,"layer_types":["full_attention","full_attention"])";
    EXPECT_EQ(windows("qwen2", full + window + used, 2), (std::vector<int>{0, 0}));
    EXPECT_EQ(windows("llama", full, 2), (std::vector<int>{0, 0}));
    EXPECT_EQ(error_of("qwen3", kinds + window, 3),
              "tiny: the key 'layer_types' names 'sliding_attention', but 'use_sliding_window' is not true; the file "
              "contradicts itself");
    EXPECT_NE(error_of("qwen3", kinds + used, 3).find("no window is given by 'sliding_window'"), std::string::npos);
    EXPECT_NE(error_of("llama", kinds + window, 3).find("model type llama has no windows"), std::string::npos);
}

TEST(ConfigJson, RefusesKindsOfLayersThatItDoesNotKnow) {
    EXPECT_EQ(error_of("qwen3", R"(,"layer_types":["full_attention","chunked_attention"])", 2),
              "tiny: the key 'layer_types' has the kind 'chunked_attention' for layer 1, but only full_attention and "
              "sliding_attention are supported");
    EXPECT_NE(error_of("llama", R"(,"layer_types":["linear_attention"])").find("'linear_attention' for layer 0"),
              std::string::npos);
    EXPECT_EQ(error_of("qwen3", R"(,"layer_types":["full_attention"])", 2),
              "tiny: the key 'layer_types' names the kinds of 1 layers, but the model has 2");
    EXPECT_NE(error_of("qwen3", R"(,"layer_types":"x")").find("'layer_types' of the config must be a list of texts"),
              std::string::npos);
    EXPECT_NE(error_of("qwen3", R"(,"layer_types":[1])").find("must be a list of texts"), std::string::npos);
}

TEST(ConfigJson, RefusesTwoSpellingsOfAWordThatDiffer) {
    EXPECT_EQ(error_of("llama", R"(,"rope_parameters":{"rope_type":"linear","factor":2.0},)"
                                R"("rope_scaling":{"rope_type":"linear","factor":4.0})"),
              "tiny/config.json: the key 'rope_parameters.factor' is 2.0, but 'rope_scaling.factor' is 4.0; both mean "
              "the same, so only one can be right");
    EXPECT_NE(error_of("llama", R"(,"rope_parameters":{"rope_theta":500.0})")
                  .find("'rope_parameters.rope_theta' is 500.0, but 'rope_theta' is 10000.0"),
              std::string::npos);
    EXPECT_NE(error_of("llama", R"(,"rope_scaling":{"type":"linear","rope_type":"yarn","factor":2})")
                  .find("'rope_scaling.rope_type' is 'yarn', but 'rope_scaling.type' is 'linear'"),
              std::string::npos);
    EXPECT_EQ(error_of("llama", R"(,"rope_parameters":{"rope_theta":10000},"rope_scaling":{"type":"linear",)"
                                R"("rope_type":"linear","factor":2})"),
              "no error");
}

TEST(ConfigJson, RefusesObjectsThatAreNone) {
    EXPECT_EQ(error_of("llama", R"(,"rope_scaling":"linear")"),
              "tiny/config.json: the key 'rope_scaling' is a text, but an object or null is needed");
    EXPECT_NE(error_of("llama", R"(,"rope_scaling":[1])").find("'rope_scaling' is a list"), std::string::npos);
    EXPECT_NE(error_of("llama", R"(,"rope_parameters":{"full_attention":{"rope_theta":5.0}})")
                  .find("'rope_parameters.full_attention' is an object"),
              std::string::npos);
    EXPECT_EQ(error_of("llama", R"(,"text_config":"x")"),
              "tiny/config.json: the key 'text_config' is a text, but an object is needed");
    EXPECT_EQ(error_of("llama", R"(,"text_config":null,"rope_scaling":null)"), "no error");
}

TEST(ConfigJson, RefusesKeysThatWouldBeLeftOut) {
    EXPECT_EQ(error_of("llama", R"(,"logit_scale":0.1)"),
              "tiny/config.json: the key 'logit_scale' is 0.1, which changes what the model computes, but architecture "
              "llama does not compute it and it would be left out; such a model is not supported");
    int refused = 0;
    for (const char* pair :
         {R"("attn_logit_softcapping":50.0)", R"("final_logit_softcapping":30)", R"("embedding_multiplier":12)",
          R"("residual_multiplier":0.2)", R"("attention_multiplier":0.01)", R"("logits_scaling":8)",
          R"("partial_rotary_factor":0.5)", R"("hidden_activation":"gelu")", R"("use_qk_norm":true)", R"("clip_qkv":8)",
          R"("is_causal":false)", R"("mlp_bias":true)", R"("alibi":true)"}) {
        const std::string error = error_of("llama", fmt::format(",{}", pair));
        EXPECT_NE(error.find("would be left out"), std::string::npos) << pair << ": " << error;
        refused += error == "no error" ? 0 : 1;
    }
    EXPECT_EQ(refused, 13);
    EXPECT_NE(error_of("llama", R"(,"rope_parameters":{"partial_rotary_factor":0.25})")
                  .find("'rope_parameters.partial_rotary_factor' is 0.25"),
              std::string::npos);
    EXPECT_NE(error_of("qwen3", R"(,"use_qk_norm":false)").find("'use_qk_norm' is false"), std::string::npos);
}

TEST(ConfigJson, TakesNeutralValuesAndKeysOfPublishedFiles) {
    EXPECT_EQ(
        error_of("llama", R"(,"logit_scale":1.0,"embedding_multiplier":1,"clip_qkv":null,"mlp_bias":false,)"
                          R"("partial_rotary_factor":1.0,"use_qk_norm":false,"pretraining_tp":1,)"
                          R"("attention_dropout":0.0,"attention_bias":false,"architectures":["LlamaForCausalLM"])"),
        "no error");
    EXPECT_EQ(error_of("qwen3", R"(,"use_qk_norm":true,"qkv_bias":false,"architectures":["Qwen3ForCausalLM"])"),
              "no error");
}

TEST(ConfigJson, ComparesTheFlagOfBiasesWithTheTensors) {
    EXPECT_EQ(
        error_of("llama", R"(,"attention_bias":true)"),
        "tiny/config.json: the key 'attention_bias' is true, but tensor 'model.layers.0.self_attn.q_proj.bias' is "
        "missing; config.json and the weights must come from one model");
    EXPECT_NE(error_of("qwen3", R"(,"attention_bias":1)").find("must be true or false"), std::string::npos);
    for (const bool flag : {false, true}) {
        TinyDirectory tiny = test::tiny_directory(fmt::format(R"(,"attention_bias":{})", flag));
        tiny.floats("model.layers.0.self_attn.q_proj.bias", {64}, std::vector<float>(64));
        const auto config = config_of(tiny);
        ASSERT_EQ(config.has_value(), flag);
        EXPECT_TRUE(flag || config.error().message.find("q_proj.bias' is there") != std::string::npos);
    }
}

TEST(ConfigJson, RefusesClassesOfAnotherModelType) {
    EXPECT_EQ(
        error_of("qwen3", R"(,"architectures":["GraniteForCausalLM"])"),
        "tiny/config.json: the key 'architectures' names 'GraniteForCausalLM', but 'model_type' is 'qwen3', whose "
        "classes are called 'Qwen3ForCausalLM' and the like; the file contradicts itself");
    EXPECT_NE(error_of("qwen3", R"(,"architectures":["Qwen3MoeForCausalLM"])").find("contradicts itself"),
              std::string::npos);
    EXPECT_NE(error_of("llama", R"(,"architectures":"LlamaForCausalLM")").find("a list of texts is needed"),
              std::string::npos);
    for (const char* name : {"LlamaForCausalLM", "LLaMAForCausalLM", "LlamaModel", "LlamaForCausalLMEagle3"})
        EXPECT_EQ(error_of("llama", fmt::format(R"(,"architectures":["{}"])", name)), "no error") << name;
    EXPECT_EQ(error_of("llama", R"(,"architectures":[])"), "no error");
}

TEST(ConfigJson, NamesTheHeadWidthThatIsOdd) {
    EXPECT_EQ(error_with("\"head_dim\":32", "\"head_dim\":63"),
              "tiny: by the key 'head_dim' 63 elements of a head turn, but rope turns pairs and needs an even number");
}

}  // namespace
}  // namespace invar
