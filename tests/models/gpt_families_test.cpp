// Reads the configs of GPT-2, GPT-NeoX and Falcon: their heads, ropes and branches in both containers, and the refusal
// of values without a law.
#include <gtest/gtest.h>

#include <filesystem>

#include "models/edited_golden.h"

namespace invar {
namespace {

TEST(GptFamilies, ReadTheSameFromBothContainers) {
    struct Family {
        std::string name;
        int heads, kv_heads, rotary_width;  // 0: nothing is rotated
        bool parallel;
        Activation activation;
        int64_t ffn, positions;
    };
    const Family families[] = {{"gpt2", 4, 4, 0, false, Activation::gelu_tanh, 128, 32},
                               {"gpt-neox", 2, 2, 4, true, Activation::gelu, 48, 0},
                               {"gpt-neox-serial", 2, 2, 4, false, Activation::gelu, 48, 0},
                               {"falcon", 4, 1, 8, true, Activation::gelu, 128, 0},
                               {"falcon-groups", 4, 2, 8, true, Activation::gelu, 128, 0}};
    for (const Family& family : families) {
        for (const char* end : {"", ".gguf"}) {
            const auto config = config_at(kFolder / (family.name + end));
            ASSERT_TRUE(config) << config.error().message;
            const AttentionGeometry& attention = *config->layers[0].attention();
            EXPECT_EQ(attention.heads, family.heads) << family.name << end;
            EXPECT_EQ(attention.kv_heads, family.kv_heads) << family.name << end;
            EXPECT_EQ(attention.key_width, 32 / family.heads) << family.name << end;
            EXPECT_EQ(attention.rope, family.rotary_width > 0 ? 0 : -1) << family.name << end;
            EXPECT_EQ(config->ropes.empty() ? 0 : config->ropes[0].rotary_width, family.rotary_width) << family.name;
            EXPECT_EQ(config->parallel, family.parallel) << family.name << end;
            EXPECT_EQ(config->layers[0].dense()->activation.kind, family.activation) << family.name << end;
            EXPECT_EQ(config->layers[0].dense()->width, family.ffn) << family.name << end;
            EXPECT_EQ(config->position_rows, family.positions) << family.name << end;
        }
    }
    // Falcon 7B states KV heads that do not count, and NeoX 20B another GELU.
    EXPECT_EQ(config_with("falcon", R"({"num_kv_heads": 4})")->layers[0].attention()->kv_heads, 1);
    EXPECT_EQ(config_with("gpt-neox", R"({"hidden_act": "gelu_fast"})")->layers[0].dense()->activation.kind,
              Activation::gelu_tanh);
}

TEST(GptFamilies, RefuseValuesWithoutALaw) {
    expect_error("gpt2", R"({"activation_function": "relu"})", "'activation_function' is 'relu', but only gelu");
    expect_error("gpt2", R"({"n_head": 5})", "'n_head' is 5, but heads share the width of 32 evenly");
    expect_error("gpt2", R"({"scale_attn_by_inverse_layer_idx": true})", "'scale_attn_by_inverse_layer_idx' is true");
    expect_error("gpt2", R"({"scale_attn_weights": false})", "'scale_attn_weights' is false");
    expect_error("gpt-neox", R"({"attention_bias": false})", "'attention_bias' is false");
    expect_error("gpt-neox", R"({"rotary_pct": 1.5})", "'rotary_pct' is 1.5, but at most the whole head can turn");
    expect_error("falcon", R"({"alibi": true})", "'alibi' is true");
    expect_error("falcon", R"({"parallel_attn": false})", "'parallel_attn' is false");
    expect_error("falcon", R"({"activation": "silu"})", "'activation' is 'silu', but only gelu");
    expect_error("falcon", R"({"bias": true})", "'bias' is true, but tensor 'transformer.h.0.self_attention.query_key");
    expect_error("falcon-groups", R"({"num_kv_heads": 3})", "'num_attention_heads' is 4, but must be a multiple of");
    expect_error("falcon-groups", R"({"num_ln_in_parallel_attn": 3})", "'num_ln_in_parallel_attn' is 3");
}

}  // namespace
}  // namespace invar
