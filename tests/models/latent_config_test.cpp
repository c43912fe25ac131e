// Configs of DeepSeek V2 and V3, Kimi K2, GLM-4.7-Flash, GLM-4.5 and GLM-4: what the code of these models has where a
// key is absent, the scales of YaRN, routers, and what is refused. The numbers are those of transformers' classes.
#include <gtest/gtest.h>

#include <cmath>

#include "base/json.h"
#include "checkpoint/tiny_directory.h"
#include "models/architecture.h"

namespace invar {
namespace {

using test::TinyDirectory;

// The config of a directory that has nothing but these keys and an embedding.
Result<ModelConfig> config_of(const Json& base, std::string_view changes) {
    Json keys = base;
    keys.merge_patch(parse_json(changes).value());
    TinyDirectory tiny = test::tiny_directory();
    tiny.config = keys.dump();
    TRY_ASSIGN(const Checkpoint checkpoint, tiny.open());
    TRY_ASSIGN(const Architecture* architecture, find_architecture(checkpoint));
    return architecture->read_config(checkpoint);
}

ModelConfig with(const Json& base, std::string_view changes) {
    const auto config = config_of(base, changes);
    EXPECT_TRUE(config) << config.error().message;
    return config.value_or(ModelConfig{});
}

std::string error_of(const Json& base, std::string_view changes) {
    const auto config = config_of(base, changes);
    return config ? "no error" : config.error().message;
}

Json object(std::string_view text) { return parse_json(text).value(); }

// With DeepSeek-V3's widths.
const Json kV3 = object(R"({"model_type":"deepseek_v3","hidden_size":64,"intermediate_size":96,"num_hidden_layers":5,
    "num_attention_heads":128,"num_key_value_heads":128,"max_position_embeddings":163840,"q_lora_rank":1536,
    "kv_lora_rank":512,"qk_nope_head_dim":128,"qk_rope_head_dim":64,"v_head_dim":128,"n_routed_experts":256,
    "num_experts_per_tok":8,"moe_intermediate_size":32,"rope_theta":10000,
    "rope_scaling":{"type":"yarn","factor":40,"beta_fast":32,"beta_slow":1,"mscale":1.0,"mscale_all_dim":1.0,
    "original_max_position_embeddings":4096}})");

Json v2() {
    Json keys = kV3;
    keys.merge_patch(object(R"({"model_type":"deepseek_v2","n_routed_experts":160,"num_experts_per_tok":6,
        "n_group":8,"topk_group":3,"topk_method":"group_limited_greedy","routed_scaling_factor":16.0})"));
    return keys;
}

const Json kGlm = object(R"({"model_type":"glm4_moe","hidden_size":64,"intermediate_size":96,"num_hidden_layers":3,
    "num_attention_heads":16,"head_dim":128,"max_position_embeddings":131072,"n_routed_experts":16,
    "num_experts_per_tok":8,"moe_intermediate_size":32})");

TEST(LatentConfig, V3HasTheNumbersOfItsClassWhereKeysAreAbsent) {
    const ModelConfig config = with(kV3, "{}");
    ASSERT_EQ(config.layers.size(), 5u);
    const LatentGeometry& latent = *config.layers[0].latent();
    EXPECT_EQ(latent.heads, 128);
    EXPECT_EQ(latent.query_rank, 1536);
    EXPECT_EQ(latent.latent, 512);
    EXPECT_EQ(latent.plain_width, 128);
    EXPECT_EQ(latent.rope_width, 64);
    EXPECT_EQ(latent.value_width, 128);
    EXPECT_EQ(latent.inner_epsilon, 1e-6f);
    EXPECT_EQ(config.ropes[0].pairing, RopePairing::adjacent);
    EXPECT_NE(config.layers[2].dense(), nullptr);
    const MixtureGeometry& mixture = *config.layers[3].mixture();
    EXPECT_EQ(mixture.shared_width, 32);
    EXPECT_EQ(mixture.route, (RouteSpec{.experts_per_row = 8,
                                        .renormalise = true,
                                        .scoring = RouteSpec::Scoring::sigmoid,
                                        .groups = 8,
                                        .groups_used = 4,
                                        .group_score = RouteSpec::GroupScore::sum_of_best_two,
                                        .sum_floor = 1e-20f,
                                        .factor = 2.5f}));
    const KvGeometry cached = config.kv_geometry()[0];
    EXPECT_EQ(cached.key_width, 576);
    EXPECT_EQ(cached.value_width, 512);
    EXPECT_TRUE(cached.values_in_keys);
}

TEST(LatentConfig, TheScaleOfScoresHasTheSquareOfYarnsScale) {
    const double g = 0.1 * std::log(40.0) + 1;
    const ModelConfig v3 = with(kV3, "{}");
    EXPECT_NEAR(v3.layers[0].latent()->scale, g * g / std::sqrt(192.0), 1e-7);
    EXPECT_NEAR(RopeTable(v3.ropes[0]).attention_factor(), 1, 1e-12);  // mscale and mscale_all_dim are equal
    const ModelConfig less = with(kV3, R"({"rope_scaling":{"mscale":1.0,"mscale_all_dim":0.5}})");
    const double half = 0.05 * std::log(40.0) + 1;
    EXPECT_NEAR(less.layers[0].latent()->scale, half * half / std::sqrt(192.0), 1e-7);
    EXPECT_NEAR(RopeTable(less.ropes[0]).attention_factor(), g / half, 1e-12);
    const ModelConfig none = with(kV3, R"({"rope_scaling":{"mscale":null,"mscale_all_dim":null}})");
    EXPECT_NEAR(none.layers[0].latent()->scale, 1 / std::sqrt(192.0), 1e-8);
    EXPECT_NEAR(RopeTable(none.ropes[0]).attention_factor(), g, 1e-12);
    const ModelConfig plain = with(kV3, R"({"rope_scaling":null})");
    EXPECT_EQ(plain.ropes[0].scaling, RopeSpec::Scaling::none);
    EXPECT_NEAR(plain.layers[0].latent()->scale, 1 / std::sqrt(192.0), 1e-8);
}

TEST(LatentConfig, V2RanksGroupsByTheirBestExpertAndNeverRenormalises) {
    const MixtureGeometry limited = *with(v2(), "{}").layers[0].mixture();
    EXPECT_EQ(limited.route, (RouteSpec{.experts_per_row = 6,
                                        .renormalise = false,
                                        .scoring = RouteSpec::Scoring::softmax,
                                        .groups = 8,
                                        .groups_used = 3,
                                        .group_score = RouteSpec::GroupScore::best,
                                        .factor = 16.0f}));
    EXPECT_EQ(limited.shared_width, 64);  // two experts
    EXPECT_EQ(with(v2(), R"({"topk_method":"greedy"})").layers[0].mixture()->route.groups, 1);
    EXPECT_EQ(with(v2(), R"({"q_lora_rank":null})").layers[0].latent()->query_rank, 0);
    EXPECT_NE(error_of(v2(), R"({"norm_topk_prob":true})").find("'norm_topk_prob' is true, but published code"),
              std::string::npos);
}

TEST(LatentConfig, RefusesRoutersThatItDoesNotCompute) {
    EXPECT_EQ(error_of(kV3, R"({"scoring_func":"softmax"})"),
              "tiny: the key 'scoring_func' is 'softmax', but models of this type have 'sigmoid'; others are not "
              "supported");
    EXPECT_EQ(error_of(kV3, R"({"topk_method":"greedy"})"),
              "tiny: the key 'topk_method' is 'greedy', which is not supported for this kind of router");
    EXPECT_NE(error_of(kV3, R"({"n_group":7})").find("which is impossible for 256 experts of which 8 are used"),
              std::string::npos);
    EXPECT_NE(error_of(kV3, R"({"n_group":256})").find("which is impossible"), std::string::npos);
    EXPECT_NE(error_of(kV3, R"({"n_group":64,"topk_group":1})").find("which is impossible"), std::string::npos);
    EXPECT_NE(error_of(kV3, R"({"topk_group":9})").find("'topk_group' is 9"), std::string::npos);
    EXPECT_NE(error_of(kV3, R"({"moe_layer_freq":2})").find("'moe_layer_freq' is 2"), std::string::npos);
    EXPECT_NE(error_of(kV3, R"({"n_shared_experts":100000000})").find("'n_shared_experts' is 100000000"),
              std::string::npos);
    EXPECT_EQ(with(kV3, R"({"n_group":1})").layers[3].mixture()->route.groups, 1);
}

TEST(LatentConfig, RefusesWidthsThatContradictEachOther) {
    EXPECT_NE(
        error_of(kV3, R"({"num_key_value_heads":8})").find("latent attention has a key for each of its 128 heads"),
        std::string::npos);
    EXPECT_NE(error_of(kV3, R"({"kv_lora_rank":1000})").find("'kv_lora_rank' is 1000"), std::string::npos);
    EXPECT_NE(error_of(kV3, R"({"qk_rope_head_dim":63})").find("needs an even number"), std::string::npos);
    EXPECT_NE(error_of(kV3, R"({"attention_bias":true})").find("no error"), 0u);
    EXPECT_NE(error_of(kV3, R"({"qk_nope_head_dim":null})").find("'qk_nope_head_dim' is missing"), std::string::npos);
}

TEST(LatentConfig, KimiAndFlashAreOfTheSameArchitecture) {
    const ModelConfig kimi = with(kV3, R"({"model_type":"kimi_k2","n_group":1,"topk_group":1,"n_shared_experts":1,
        "first_k_dense_replace":1,"norm_topk_prob":true,"rms_norm_eps":1e-6,"routed_scaling_factor":2.827,
        "scoring_func":"sigmoid","topk_method":"noaux_tc","rope_scaling":{"factor":32,"beta_fast":1}})");
    EXPECT_EQ(kimi.architecture, "deepseek2");
    EXPECT_EQ(kimi.layers[1].mixture()->route.factor, 2.827f);
    EXPECT_EQ(kimi.ropes[0].beta_fast, 1);
    const ModelConfig flash =
        with(kV3, R"({"model_type":"glm4_moe_lite","rope_scaling":null,"rope_theta":1000000,"qk_nope_head_dim":192,
        "v_head_dim":256})");
    EXPECT_EQ(flash.norm_epsilon, 1e-5f);
    EXPECT_EQ(flash.layers[0].latent()->inner_epsilon, 1e-6f);
    EXPECT_NE(flash.layers[0].dense(), nullptr);
    EXPECT_EQ(flash.layers[1].mixture()->route.factor, 1.8f);
    const std::string kinds = R"({"model_type":"glm4_moe_lite","rope_scaling":null,"mlp_layer_types":[)";
    const ModelConfig listed = with(kV3, kinds + R"("dense","sparse","dense","sparse","sparse"]})");
    EXPECT_NE(listed.layers[2].dense(), nullptr);
    EXPECT_NE(error_of(kV3, kinds + R"("dense"]})").find("names the kinds of 1 layers, but the model has 5"),
              std::string::npos);
    EXPECT_NE(error_of(kV3, kinds + R"("dense","moe","dense","sparse","sparse"]})").find("has the kind 'moe'"),
              std::string::npos);
}

TEST(LatentConfig, GlmTurnsHalfOfAHeadAndLeavesOutTheLayerThatPredicts) {
    const ModelConfig config = with(kGlm, R"({"num_nextn_predict_layers":1})");
    EXPECT_EQ(config.ropes[0].rotary_width, 64);
    EXPECT_EQ(config.ropes[0].pairing, RopePairing::halves);
    EXPECT_EQ(config.layers[1].attention()->kv_heads, 8);
    EXPECT_NE(config.layers[0].dense(), nullptr);
    EXPECT_EQ(config.layers[1].mixture()->route.factor, 1.0f);
    ASSERT_EQ(config.tensors_unused.size(), 1u);
    EXPECT_EQ(config.tensors_unused[0].pattern, "model.layers.3.*");
    EXPECT_EQ(with(kGlm, R"({"partial_rotary_factor":0.25})").ropes[0].rotary_width, 32);
    EXPECT_NE(error_of(kGlm, R"({"partial_rotary_factor":1.5})").find("at most the whole head can turn"),
              std::string::npos);
    EXPECT_NE(error_of(kGlm, R"({"use_qk_norm":true})").find("'model.layers.0.self_attn.q_norm.weight' is missing"),
              std::string::npos);
    EXPECT_NE(error_of(kGlm, R"({"num_key_value_heads":5})").find("must be a multiple"), std::string::npos);
}

TEST(LatentConfig, Glm4OfOnePartHasNeighboursAsPairs) {
    const ModelConfig config = with(object(R"({"model_type":"glm4","hidden_size":64,"intermediate_size":96,
        "num_hidden_layers":2,"num_attention_heads":32,"max_position_embeddings":32768})"),
                                    "{}");
    EXPECT_EQ(config.ropes[0].pairing, RopePairing::adjacent);
    EXPECT_EQ(config.ropes[0].rotary_width, 64);
    EXPECT_EQ(config.layers[1].attention()->kv_heads, 2);
    EXPECT_EQ(config.norm_epsilon, 1.5625e-7f);
}

}  // namespace
}  // namespace invar
