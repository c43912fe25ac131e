// Configs of Gemma 2, 3 and 4: what the code of these models has where a key is absent, both spellings of config.json,
// what GGUF files leave unsaid, and what is refused. The numbers are those of transformers' configuration classes.
#include "models/gemma_config.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/json.h"
#include "checkpoint/tiny_directory.h"
#include "models/architecture.h"
#include "models/tiny_model.h"

namespace invar {
namespace {

using test::TinyDirectory;
using test::TinyModel;

Result<ModelConfig> config_of(const Checkpoint& checkpoint) {
    TRY_ASSIGN(const Architecture* architecture, find_architecture(checkpoint));
    return architecture->read_config(checkpoint);
}

// The config of a directory that has nothing but these keys and an embedding.
Result<ModelConfig> config_of(const Json& keys) {
    TinyDirectory tiny = test::tiny_directory();
    tiny.config = keys.dump();
    TRY_ASSIGN(const Checkpoint checkpoint, tiny.open());
    return config_of(checkpoint);
}

std::string error_of(const Json& base, std::string_view changes) {
    Json keys = base;
    keys.merge_patch(parse_json(changes).value());
    const auto config = config_of(keys);
    return config ? "no error" : config.error().message;
}

ModelConfig with(const Json& base, std::string_view changes) {
    Json keys = base;
    keys.merge_patch(parse_json(changes).value());
    const auto config = config_of(keys);
    EXPECT_TRUE(config) << config.error().message;
    return config.value_or(ModelConfig{});
}

Json object(std::string_view text) { return parse_json(text).value(); }

std::string text_of(const ModelConfig& config) {
    std::string text;
    for (const ConfigField& field : fields_of(config)) text += field.name + " " + field.value + "\n";
    return text;
}

std::vector<int> windows(const ModelConfig& config) {
    std::vector<int> all;
    for (const LayerSpec& layer : config.layers) all.push_back(layer.attention()->window);
    return all;
}

std::vector<int> producers(const ModelConfig& config) {
    std::vector<int> all;
    for (const LayerSpec& layer : config.layers) all.push_back(layer.attention()->shares);
    return all;
}

const Json kGemma2 = object(R"({"model_type":"gemma2","hidden_size":64,"intermediate_size":96,"num_hidden_layers":3})");
const Json kGemma3 =
    object(R"({"model_type":"gemma3_text","hidden_size":64,"intermediate_size":96,"num_hidden_layers":7})");
const Json kGemma4 =
    object(R"({"model_type":"gemma4_text","hidden_size":64,"intermediate_size":96,"num_hidden_layers":6})");

TEST(GemmaConfig, Gemma2HasTheNumbersOfItsClassWhereKeysAreAbsent) {
    const ModelConfig config = with(kGemma2, "{}");
    ASSERT_EQ(config.layers.size(), 3u);
    EXPECT_EQ(windows(config), (std::vector<int>{4096, 0, 4096}));
    EXPECT_EQ(config.embedding_scale, 8.0f);
    EXPECT_EQ(config.logit_softcap, 30.0f);
    const AttentionGeometry& attention = *config.layers[1].attention();
    EXPECT_EQ(attention.softcap, 50.0f);
    EXPECT_EQ(attention.scale, 0.0625f);
    EXPECT_EQ(attention.heads, 8);
    EXPECT_EQ(attention.kv_heads, 4);
    EXPECT_EQ(attention.key_width, 256);
    EXPECT_EQ(config.ropes.size(), 1u);
    EXPECT_EQ(config.layers[0].dense()->activation.kind, Activation::gelu_tanh);
}

TEST(GemmaConfig, ASoftCapThatIsNullIsNone) {
    const ModelConfig config = with(kGemma2, R"({"query_pre_attn_scalar":144,"sliding_window":8})");
    EXPECT_EQ(config.layers[0].attention()->scale, 1.0f / 12.0f);
    EXPECT_EQ(windows(config), (std::vector<int>{8, 0, 8}));
    Json keys = kGemma2;
    keys["attn_logit_softcapping"] = nullptr;
    keys["final_logit_softcapping"] = nullptr;
    const auto without = config_of(keys);
    ASSERT_TRUE(without) << without.error().message;
    EXPECT_EQ(without->logit_softcap, 0.0f);
    EXPECT_EQ(without->layers[0].attention()->softcap, 0.0f);
}

TEST(GemmaConfig, Gemma3TurnsWindowsByARopeThatIsNeverScaled) {
    const ModelConfig old =
        with(kGemma3, R"({"rope_scaling":{"rope_type":"linear","factor":8.0},"sliding_window":16})");
    EXPECT_EQ(windows(old), (std::vector<int>{16, 16, 16, 16, 16, 0, 16}));
    EXPECT_EQ(old.layers[5].attention()->rope, 0);
    EXPECT_EQ(old.layers[6].attention()->rope, 1);
    ASSERT_EQ(old.ropes.size(), 2u);
    EXPECT_EQ(old.ropes[0].base, 1e6);
    EXPECT_EQ(old.ropes[0].factor, 8.0);
    EXPECT_EQ(old.ropes[1].base, 1e4);
    EXPECT_EQ(old.ropes[1].scaling, RopeSpec::Scaling::none);
    const ModelConfig saved = with(kGemma3, R"({"sliding_window":16,"rope_parameters":{)"
                                            R"("full_attention":{"rope_type":"linear","factor":8.0,"rope_theta":1e6},)"
                                            R"("sliding_attention":{"rope_type":"default","rope_theta":10000.0}}})");
    EXPECT_EQ(text_of(saved), text_of(old));
    const ModelConfig pattern = with(kGemma3, R"({"sliding_window":16,"sliding_window_pattern":3})");
    EXPECT_EQ(windows(pattern), (std::vector<int>{16, 16, 0, 16, 16, 0, 16}));
}

TEST(GemmaConfig, RefusesWhatItDoesNotCompute) {
    EXPECT_EQ(error_of(kGemma3, R"({"hidden_activation":"silu"})"),
              "tiny: the key 'hidden_activation' is 'silu', but only gelu_pytorch_tanh is supported for this "
              "architecture");
    EXPECT_NE(error_of(kGemma3, R"({"use_bidirectional_attention":3})"), "no error");
    const ModelConfig encoder = with(kGemma3, R"({"use_bidirectional_attention":true})");
    EXPECT_EQ(encoder.architecture, "gemma-embedding");
    EXPECT_EQ(encoder.result, ModelResult::hidden);
    EXPECT_TRUE(encoder.sees_both_ways());
    EXPECT_NE(error_of(kGemma3, R"({"rope_parameters":{"sliding_attention":{"rope_type":"yarn"}}})")
                  .find("'rope_parameters.sliding_attention.rope_type' is 'yarn'"),
              std::string::npos);
    EXPECT_NE(error_of(kGemma3, R"({"rope_parameters":{"full_attention":{"partial_rotary_factor":0.5}}})")
                  .find("'rope_parameters.full_attention.partial_rotary_factor' is 0.5"),
              std::string::npos);
    EXPECT_NE(error_of(kGemma4, R"({"use_bidirectional_attention":"all"})").find("is 'all'"), std::string::npos);
    EXPECT_EQ(error_of(kGemma4, R"({"use_bidirectional_attention":"vision"})"), "no error");
    EXPECT_NE(error_of(kGemma4, R"({"rope_parameters":{"full_attention":{"rope_type":"linear","factor":2.0}}})")
                  .find("is 'linear', but only proportional"),
              std::string::npos);
    EXPECT_NE(error_of(kGemma4, R"({"rope_parameters":{"full_attention":{"partial_rotary_factor":0.001}}})")
                  .find("0 of 256 pairs"),
              std::string::npos);
    EXPECT_NE(error_of(kGemma4, R"({"enable_moe_block":true})").find("experts' is missing"), std::string::npos);
}

TEST(GemmaConfig, GgufFilesOfGemma3LeaveScaleAndPatternUnsaid) {
    const auto config = [](int64_t layers) {
        TinyModel model = test::tiny("gemma3");
        model.layers = layers;
        model.heads = 2;
        model.values = false;
        model.edit_metadata = [](GgufWriter& writer) { writer.add("gemma3.attention.sliding_window", uint32_t{16}); };
        const std::vector<std::byte> bytes = model.bytes();
        return config_of(Checkpoint::from_bytes(bytes, "toy.gguf").value());
    };
    const auto small = config(7), large = config(62);
    ASSERT_TRUE(small && large) << (small ? large.error().message : small.error().message);
    EXPECT_EQ(windows(*small), (std::vector<int>{16, 16, 16, 16, 16, 0, 16}));
    EXPECT_EQ(small->layers[0].attention()->scale, 0.125f);                        // 64^-0.5
    EXPECT_EQ(large->layers[0].attention()->scale, 1.0f / std::sqrt(256.0f / 2));  // (width / heads)^-0.5
    EXPECT_EQ(small->ropes[1].base, 1e4);
    EXPECT_EQ(small->logit_softcap, 0.0f);
}

TEST(GemmaConfig, Gemma4HasTwoGeometriesInBothSpellings) {
    const ModelConfig old = with(kGemma4, R"({"head_dim":16,"global_head_dim":32,"num_global_key_value_heads":2,)"
                                          R"("attention_k_eq_v":true,"hidden_size_per_layer_input":0})");
    EXPECT_EQ(windows(old), (std::vector<int>{512, 512, 512, 512, 512, 0}));
    const AttentionGeometry &local = *old.layers[0].attention(), &full = *old.layers[5].attention();
    EXPECT_EQ(local.key_width, 16);
    EXPECT_EQ(local.kv_heads, 4);
    EXPECT_FALSE(local.values_are_keys);
    EXPECT_EQ(full.key_width, 32);
    EXPECT_EQ(full.value_width, 32);
    EXPECT_EQ(full.kv_heads, 2);
    EXPECT_TRUE(full.values_are_keys);
    EXPECT_EQ(full.scale, 1.0f);
    EXPECT_EQ(old.ropes[0].rotary_width, 32);
    EXPECT_EQ(old.ropes[0].turning_pairs, 4);
    EXPECT_EQ(old.ropes[1].turning_pairs, 0);
    EXPECT_EQ(old.per_layer_width, 0);
    const ModelConfig saved = with(kGemma4, R"({"head_dim":16,"attention_k_eq_v":true,"hidden_size_per_layer_input":0,)"
                                            R"("per_layer_config":{"5":{"head_dim":32,"num_key_value_heads":2}}})");
    EXPECT_EQ(text_of(saved), text_of(old));
    // The KV heads of full layers count only where values are keys; 256 is the width of inputs where its key is absent.
    const ModelConfig other = with(kGemma4, R"({"head_dim":16,"num_global_key_value_heads":2})");
    EXPECT_EQ(other.layers[5].attention()->kv_heads, 4);
    EXPECT_EQ(other.layers[5].attention()->key_width, 512);
    EXPECT_EQ(other.per_layer_width, 256);
}

TEST(GemmaConfig, RefusesNumbersOfSingleLayersThatItDoesNotKnow) {
    EXPECT_NE(error_of(kGemma4, R"({"per_layer_config":{"5":{"intermediate_size":8}}})")
                  .find("'per_layer_config.5.intermediate_size' is not supported"),
              std::string::npos);
    EXPECT_NE(error_of(kGemma4, R"({"per_layer_config":{"6":{"head_dim":8}}})").find("names layer '6'"),
              std::string::npos);
    EXPECT_NE(error_of(kGemma4, R"({"per_layer_config":{"x":{}}})").find("names layer 'x'"), std::string::npos);
    EXPECT_NE(error_of(kGemma4, R"({"per_layer_config":{"5":{"head_dim":0}}})").find("between 1 and 1024"),
              std::string::npos);
    EXPECT_NE(error_of(kGemma4, R"({"per_layer_config":[1]})").find("is a list"), std::string::npos);
    EXPECT_NE(error_of(kGemma4, R"({"per_layer_config":{"5":1}})").find("an object is needed"), std::string::npos);
    EXPECT_NE(error_of(kGemma4, R"({"per_layer_config":{"1":{"head_dim":8}}})").find("layers 0 and 1 are of one kind"),
              std::string::npos);
    EXPECT_NE(error_of(kGemma4, R"({"per_layer_config":{"5":{"num_key_value_heads":3}}})")
                  .find("8 query heads and 3 KV heads"),
              std::string::npos);
}

TEST(GemmaConfig, LastLayersAttendTheKeysOfTheLastLayerOfTheirKind) {
    constexpr std::string_view kKinds =
        R"({"num_hidden_layers":8,"num_kv_shared_layers":3,"use_double_wide_mlp":true,"layer_types":[)"
        R"("sliding_attention","sliding_attention","full_attention","sliding_attention","full_attention",)"
        R"("sliding_attention","sliding_attention","sliding_attention"]})";
    const ModelConfig config = with(kGemma4, kKinds);
    EXPECT_EQ(producers(config),
              (std::vector<int>{-1, -1, -1, -1, -1, 3, 3, 4}));  // the last is a full one in any case
    EXPECT_EQ(config.layers[4].dense()->width, 96);
    EXPECT_EQ(config.layers[5].dense()->width, 192);
    ASSERT_EQ(config.tensors_unused.size(), 9u);
    EXPECT_EQ(config.tensors_unused[0].pattern, "model.layers.5.self_attn.k_proj.*");
    EXPECT_EQ(config.kv_geometry()[5].kv_heads, 0);
    EXPECT_NE(error_of(kGemma4, R"({"num_kv_shared_layers":2})").find("leaves layer 5 without keys"),
              std::string::npos);
    EXPECT_NE(error_of(kGemma4, R"({"num_kv_shared_layers":6})").find("must be between 0 and 5"), std::string::npos);
}

TEST(GemmaConfig, RefusesFrequencyFactorsThatAreNeitherOneNorInfinite) {
    TinyModel model = test::tiny("gemma4");
    model.values = false;
    bool factors = false;
    model.edit_metadata = [](GgufWriter& writer) {
        writer.add("gemma4.attention.sliding_window", uint32_t{16});
        writer.add("gemma4.attention.key_length_swa", uint32_t{32});
        writer.add("gemma4.attention.value_length_swa", uint32_t{32});
        writer.add_booleans("gemma4.attention.sliding_window_pattern", std::vector<uint8_t>{1, 0});
    };
    model.edit_tensors = [&](std::vector<test::TinyTensor>& tensors) {
        if (factors) tensors.push_back({"rope_freqs.weight", {32}, &format(FormatId::f32)});
    };
    const auto error = [&] {
        const std::vector<std::byte> bytes = model.bytes();
        const auto config = config_of(Checkpoint::from_bytes(bytes, "toy.gguf").value());
        return config ? "no error" : config.error().message;
    };
    EXPECT_EQ(error(), "toy.gguf: tensor 'rope_freqs.weight' is missing, which says how many pairs of a head turn");
    factors = true;  // all of them 0
    EXPECT_NE(error().find("must have the factor 1 for the pairs that turn and then 1e30"), std::string::npos);
}

}  // namespace
}  // namespace invar
