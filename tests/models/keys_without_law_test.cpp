// Keys that change what a model computes and that nothing here computes are refused by key and value, in both
// containers; keys that are not there are named as models of the type spell them, and a default that counts is noted.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "models/edited_gguf.h"

namespace invar {
namespace {

std::string error_of(const Result<ModelConfig>& read) { return read ? "no error" : read.error().message; }

void expect_part(const std::string& text, std::string_view part, std::string_view what) {
    EXPECT_NE(text.find(part), std::string::npos) << what << ": " << text;
}

bool has_note(const Result<ModelConfig>& read, std::string_view part) {
    return read && std::ranges::any_of(read->notes,
                                       [&](const std::string& note) { return note.find(part) != std::string::npos; });
}

TEST(KeysWithoutLaw, OfGgufFilesAreRefusedByKeyAndValue) {
    struct Case {
        std::string model, key, value;
        std::string_view shown;
    };
    const std::string_view bogus = "bogus";
    const Case cases[] = {
        {"qwen3", "qwen3.attention.causal", gguf_value(false), "false"},
        {"llama", "llama.attn_logit_softcapping", gguf_value(5.0f), "5"},
        {"llama", "llama.final_logit_softcapping", gguf_value(5.0f), "5"},
        {"llama", "llama.logit_scale", gguf_value(5.0f), "5"},
        {"llama", "llama.embedding_scale", gguf_value(3.0f), "3"},
        {"llama", "llama.attention.clamp_kqv", gguf_value(1.0f), "1"},
        {"llama", "llama.attention.max_alibi_bias", gguf_value(8.0f), "8"},
        {"llama", "llama.swiglu_clamp_exp", gguf_value(2.0f), "2"},
        {"llama", "llama.rope.scaling.attn_factor", gguf_value(2.0f), "2"},
        {"llama", "llama.hidden_activation", gguf_value(bogus), "'bogus'"},
        {"gpt-oss", "gpt-oss.expert_weights_scale", gguf_value(3.0f), "3"},
        {"gpt-oss", "gpt-oss.expert_weights_norm", gguf_value(false), "false"},
        {"gpt-oss", "gpt-oss.hidden_activation", gguf_value(bogus), "'bogus'"},
        {"minimax-m2", "minimax-m2.expert_weights_scale", gguf_value(3.0f), "3"},
        {"qwen35moe", "qwen35moe.expert_weights_scale", gguf_value(3.0f), "3"},
        {"olmo2", "olmo2.attention.clamp_kqv", gguf_value(0.5f), "0.5"},
        {"glm4", "glm4.attention.scale", gguf_value(0.5f), "0.5"},
        {"glm4", "glm4.attention.sliding_window", gguf_value(2u), "2"},
        {"smollm3", "smollm3.attention.sliding_window", gguf_value(2u), "2"},
        {"glm4", "glm4.nextn_predict_layers", gguf_value(1u), "1"},
    };
    for (const Case& one : cases) {
        const std::string error = error_of(config_with_key(one.model, one.key, one.value));
        expect_part(error, fmt::format("'{}' is {}", one.key, one.shown), one.key);
    }
}

TEST(KeysWithoutLaw, WithValuesThatChangeNothingAreRead) {
    EXPECT_EQ(error_of(config_with_key("qwen3", "qwen3.attention.causal", gguf_value(true))), "no error");
    EXPECT_EQ(error_of(config_with_key("llama", "llama.attn_logit_softcapping", gguf_value(0.0f))), "no error");
    EXPECT_EQ(error_of(config_with_key("llama", "llama.logit_scale", gguf_value(1.0f))), "no error");
    EXPECT_EQ(error_of(config_with_key("gpt-oss", "gpt-oss.expert_weights_scale", gguf_value(1.0f))), "no error");
    EXPECT_EQ(error_of(config_with_key("nemotron-h", "nemotron_h.rope.freq_base", gguf_value(5.0f))), "no error");
    const auto unknown = config_with_key("llama", "llama.made_up", gguf_value(2u));
    EXPECT_TRUE(has_note(unknown, "metadata key 'llama.made_up' is not known here"));
}

TEST(KeysWithoutLaw, AreInNoGoldenFile) {
    int files = 0;
    for (const auto& entry : std::filesystem::directory_iterator(kFolder)) {
        if (entry.path().extension() != ".gguf") continue;
        const auto read = config_at(entry.path());
        ASSERT_TRUE(read) << read.error().message;
        EXPECT_FALSE(has_note(read, "is not known here")) << entry.path();
        ++files;
    }
    EXPECT_GE(files, 50);
}

TEST(AbsentKeys, OfGgufFilesAreRefusedOrNoted) {
    const std::pair<std::string, std::string> refused[] = {
        {"granitemoe", "granitemoe.embedding_scale"},
        {"granitemoe", "granitemoe.logit_scale"},
        {"granitemoe", "granitemoe.residual_scale"},
        {"granitehybrid", "granitehybrid.residual_scale"},
        {"deepseek-v3", "deepseek2.expert_weights_scale"},
        {"deepseek-v3", "deepseek2.expert_weights_norm"},
        {"deepseek-v3", "deepseek2.rope.scaling.type"},
        {"glm4moe", "glm4moe.expert_weights_norm"},
        {"nemotron-h-moe", "nemotron_h_moe.expert_weights_norm"},
        {"nemotron-h-moe", "nemotron_h_moe.expert_weights_scale"},
        {"olmo3", "olmo2.attention.sliding_window"},
        {"gemma3", "gemma3.rope.scaling.type"},
    };
    for (const auto& [model, key] : refused) {
        const auto read = config_without_key(model, key);
        EXPECT_FALSE(read) << key;
        expect_part(error_of(read), "'" + key + "'", key);
        expect_part(error_of(read), "missing", key);
    }
    const std::pair<std::string, std::string> noted[] = {{"gemma4-moe", "gemma4.final_logit_softcapping"},
                                                         {"deepseek-v3", "deepseek2.expert_group_count"},
                                                         {"deepseek-v3", "deepseek2.rope.scaling.yarn_log_multiplier"}};
    for (const auto& [model, key] : noted)
        EXPECT_TRUE(has_note(config_without_key(model, key), "'" + key + "' is absent")) << key;
}

TEST(KeysWithoutLaw, OfConfigJsonAreRefusedByKeyAndValue) {
    struct Case {
        std::string model;
        const char* change;
        std::string_view part;
    };
    const Case cases[] = {
        {"minimax-m2", R"({"attn_type_list": [1, 0]})", "'attn_type_list' is [1,0]"},
        {"minimax-m2", R"({"qk_norm_type": "per_head"})", "'qk_norm_type' is 'per_head'"},
        {"minimax-m2", R"({"use_routing_bias": false})", "'use_routing_bias' is false"},
        {"hunyuan-moe", R"({"use_cla": true})", "'use_cla' is true"},
        {"hunyuan-moe", R"({"use_mixed_mlp_moe": false})", "'use_mixed_mlp_moe' is false"},
        {"hunyuan-moe", R"({"num_shared_expert": [2, 2]})", "'num_shared_expert' is 2"},
        {"cohere2", R"({"use_gated_activation": false})", "'use_gated_activation' is false"},
        {"cohere2", R"({"position_embedding_type": "learned"})", "'position_embedding_type' is 'learned'"},
        {"cohere2", R"({"order_of_interleaved_layers": "global_attn_first"})", "is 'global_attn_first'"},
        {"granite", R"({"normalization_function": "layernorm"})", "'normalization_function' is 'layernorm'"},
        {"granitehybrid", R"({"normalization_function": "layernorm"})", "'normalization_function' is 'layernorm'"},
        {"ernie4_5_moe", R"({"use_bias": true})", "'use_bias' is true"},
        {"ernie4_5_moe", R"({"moe_gate": "sinkhorn"})", "'moe_gate' is 'sinkhorn'"},
        {"ernie4_5_moe", R"({"moe_gate_act": "sigmoid"})", "'moe_gate_act' is 'sigmoid'"},
        {"ernie4_5_moe", R"({"moe_use_aux_free": false})", "'moe_use_aux_free' is false"},
        {"gpt-oss", R"({"router_bias": false})", "'router_bias' is false"},
        {"gpt-oss", R"({"norm_topk_prob": false})", "'norm_topk_prob' is false"},
        {"gpt-oss", R"({"experts_per_token": 4})", "'experts_per_token' is 4"},
        {"llama", R"({"position_embedding_type": "nope"})", "'position_embedding_type' is 'nope'"},
        {"starcoder2", R"({"use_bias": false})", "'use_bias' is false"},
        {"mistral", R"({"attention_bias": true})", "'attention_bias' is true"},
        {"nemotron-h", R"({"attention_bias": true})", "'attention_bias' is true"},
        {"olmo3", R"({"attention_bias": true})", "'attention_bias' is true"},
        {"phi3", R"({"attention_bias": true})", "'attention_bias' is true"},
        {"exaone4", R"({"attention_bias": true})", "'attention_bias' is true"},
        {"modernbert", R"({"attention_bias": true})", "'attention_bias' is true"},
        {"gemma4-moe", R"({"text_config": {"rope_parameters": {"full_attention": "x"}}})",
         "'rope_parameters.full_attention' is"},
        {"gemma4-moe", R"({"text_config": {"rope_parameters": {"full_attention": []}}})",
         "'rope_parameters.full_attention' is"},
    };
    for (const Case& one : cases) expect_part(error_of(config_with(one.model, one.change)), one.part, one.change);
    EXPECT_TRUE(has_note(config_with("llama", R"({"sliding_window": 2})"), "'sliding_window' is not used"));
}

TEST(AbsentKeys, AreNamedAsModelsOfTheTypeSpellThem) {
    struct Case {
        std::string model;
        const char* change;
        std::string_view key;
    };
    const Case cases[] = {
        {"gpt-oss", R"({"num_experts_per_tok": null, "experts_per_token": null})", "'num_experts_per_tok' is missing"},
        {"gpt-oss", R"({"num_local_experts": null})", "'num_local_experts' is missing"},
        {"gpt-oss", R"({"rope_scaling": null, "rope_parameters": null})", "'rope_scaling.rope_type'"},
        {"llama", R"({"num_experts": 8})", "'num_experts_per_tok' is missing"},
        {"gemma4-moe", R"({"text_config": {"top_k_experts": null}})", "'top_k_experts' is missing"},
        {"llama", R"({"rope_theta": 1.0, "rope_parameters": null})", "rope base 1 is not greater than 1"},
        {"gpt-oss", R"({"num_local_experts": 1})",
         "'num_experts_per_tok' is 2, but by the key 'num_local_experts' there are only 1 experts"},
    };
    for (const Case& one : cases) expect_part(error_of(config_with(one.model, one.change)), one.key, one.change);
}

}  // namespace
}  // namespace invar
