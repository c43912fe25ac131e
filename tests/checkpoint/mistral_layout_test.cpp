// Mistral's own layout: names, order of rows and keys of params.json. What is not understood is refused by name. That
// such directories compute what their twins compute is tests/proof/containers_test.cpp.
#include <gtest/gtest.h>

#include "checkpoint/bound_directory.h"

namespace invar {
namespace {

using test::bind;
using test::expect_refused;
using test::refusal;
using test::tiny_directory;
using test::TinyDirectory;

// The tiny llama with Mistral's names.
TinyDirectory tiny_mistral(std::string_view more_params = "") {
    constexpr std::pair<std::string_view, std::string_view> kNames[] = {
        {"model.embed_tokens", "tok_embeddings"},
        {"model.norm", "norm"},
        {"lm_head", "output"},
        {"model.layers.0.input_layernorm", "layers.0.attention_norm"},
        {"model.layers.0.post_attention_layernorm", "layers.0.ffn_norm"},
        {"model.layers.0.self_attn.q_proj", "layers.0.attention.wq"},
        {"model.layers.0.self_attn.k_proj", "layers.0.attention.wk"},
        {"model.layers.0.self_attn.v_proj", "layers.0.attention.wv"},
        {"model.layers.0.self_attn.o_proj", "layers.0.attention.wo"},
        {"model.layers.0.mlp.gate_proj", "layers.0.feed_forward.w1"},
        {"model.layers.0.mlp.down_proj", "layers.0.feed_forward.w2"},
        {"model.layers.0.mlp.up_proj", "layers.0.feed_forward.w3"}};
    TinyDirectory tiny = tiny_directory();
    for (const auto& [from, to] : kNames) {
        auto tensor = tiny.tensors.extract(fmt::format("{}.weight", from));
        tensor.key() = fmt::format("{}.weight", to);
        tiny.tensors.insert(std::move(tensor));
    }
    tiny.config_name = "params.json";
    tiny.weights_name = "consolidated.safetensors";
    tiny.config = fmt::format(
        R"({{"dim":{},"n_layers":1,"head_dim":32,"hidden_dim":{},"n_heads":2,"n_kv_heads":1,"norm_eps":1e-5,)"
        R"("vocab_size":{},"rope_theta":10000.0{}}})",
        test::kTinyWidth, test::kTinyFfn, test::kTinyVocabulary, more_params);
    return tiny;
}

TEST(MistralLayout, HasItsNamesItsOrderOfRowsAndItsKeys) {
    TinyDirectory tiny = tiny_mistral();
    const auto checkpoint = tiny.open();
    ASSERT_TRUE(checkpoint) << checkpoint.error().message;
    EXPECT_EQ(checkpoint->dialect(), Dialect::mistral);
    const auto bound = bind(*checkpoint);
    ASSERT_TRUE(bound) << bound.error().message;
    EXPECT_EQ(bound->of("query").name, "layers.0.attention.wq.weight");
    EXPECT_EQ(bound->of("query").matrices[0].order, (RowOrder{.head_width = 32, .rotary_width = 32}));
    EXPECT_EQ(bound->of("key").matrices[0].order, (RowOrder{.head_width = 32, .rotary_width = 32}));
    EXPECT_EQ(bound->of("value").matrices[0].order, RowOrder());
    EXPECT_EQ(bound->of("gate").name, "layers.0.feed_forward.w1.weight");
    EXPECT_EQ(bound->of("up").name, "layers.0.feed_forward.w3.weight");
    EXPECT_EQ(bound->of("down").name, "layers.0.feed_forward.w2.weight");
    EXPECT_EQ(bound->config.context_length, 128000);
    ASSERT_EQ(bound->config.notes.size(), 1u);
    EXPECT_NE(bound->config.notes[0].find("'max_seq_len' is absent; 128000"), std::string::npos);
    EXPECT_EQ(bound->config.layers[0].attention()->window, 0);
    EXPECT_EQ(bound->config.ropes[0].scaling, RopeSpec::Scaling::none);
}

TEST(MistralLayout, RefusesKeysThatAreNotUnderstood) {
    constexpr std::pair<const char*, const char*> kCases[] = {
        {R"(,"q_lora_rank":8)", "'q_lora_rank' is not known"},
        {R"(,"llama_4_scaling":{"beta":0.1})", "'llama_4_scaling.original_max_position_embeddings' is missing"},
        {R"(,"model_type":"other")", "'model_type' is 'other'"},
        {R"(,"activation":"gelu")", "only silu"},
        {R"(,"sliding_window":[4,8])", "'sliding_window' of the config must be an integer"},
        {R"(,"moe":{"num_experts":4,"num_experts_per_tok":2,"num_shared_experts":1})", "'moe.num_shared_experts'"},
        {R"(,"moe":{"num_experts":4})", "'moe.num_experts_per_tok' is missing"},
        {R"(,"moe":4)", "'moe' must be an object"},
        {R"(,"yarn":{"factor":4,"original_max_position_embeddings":8,"beta":32,"alpha":1})",
         "'yarn.apply_scale' is missing"},
        {R"(,"quantization":{"qformat_weight":"nvfp4"})", "'quantization.qformat_weight' is nvfp4"},
        {R"(,"quantization":{"qformat_weight":"fp8_e4m3","qscheme_act":"NO_SCALES"})", "'quantization.qscheme_act'"},
        {R"(,"quantization":{"config_groups":{}})", "'quantization.config_groups'"},
        {R"(,"quantization":"fp8")", "'quantization' must be an object"},
        {R"(,"tied_embeddings":1)", "'tied_embeddings' of the config must be true or false"},
    };
    for (const auto& [more, wanted] : kCases) expect_refused(tiny_mistral(more), {wanted});
    EXPECT_EQ(refusal(tiny_mistral(R"(,"q_lora_rank":null,"model_type":"transformer","sliding_window":null)")),
              "bound");
    TinyDirectory without = tiny_mistral();
    without.config.replace(without.config.find(R"("rope_theta":10000.0)"), 20, R"("rope_theta":null)");
    expect_refused(without, {"'rope_theta' is missing"});
    TinyDirectory endless = tiny_mistral();
    endless.config.replace(endless.config.find("1e-5"), 4, "1e300");
    expect_refused(endless, {"'norm_eps' is 1e+300", "binary32"});
    TinyDirectory odd = tiny_mistral();
    odd.config.replace(odd.config.find(R"("head_dim":32)"), 13, R"("head_dim":31)");
    expect_refused(odd, {"'head_dim' 31 elements of a head turn"});
}

TEST(MistralLayout, RefusesTensorsThatAreNotUnderstoodAndIgnoresThePictures) {
    TinyDirectory tiny = tiny_mistral();
    tiny.number("vision_encoder.patch_conv.weight", 1);
    tiny.number("vision_language_adapter.w_in.weight", 1);
    tiny.number("layers.0.attention.wq.qscale_act", 1);
    const auto checkpoint = tiny.open();
    const auto bound = bind(*checkpoint);
    ASSERT_TRUE(bound) << bound.error().message;
    ASSERT_EQ(bound->binding.ignored.size(), 3u);
    tiny.number("layers.0.attention.sinks", 1);
    expect_refused(tiny, {"layers.0.attention.sinks", "used by no weight"});
    TinyDirectory other = tiny_mistral();
    other.tensors.erase("layers.0.feed_forward.w3.weight");
    expect_refused(other, {"layers.0.feed_forward.w3.weight", "is missing"});
}

TEST(MistralLayout, TakesAScaleForEachTensorOfFp8) {
    TinyDirectory tiny = tiny_mistral(R"(,"quantization":{"qformat_weight":"fp8_e4m3","qscheme_act":"TENSOR"})");
    const std::string module = "layers.0.feed_forward.w2.";
    tiny.tensors.erase(module + "weight");
    tiny.random_bytes(module + "weight", "F8_E4M3", {64, 128}, 0x7E);
    expect_refused(tiny, {"layers.0.feed_forward.w2.qscale_weight", "is missing"});
    tiny.number(module + "qscale_weight", 0.25f);
    const auto checkpoint = tiny.open();
    const auto bound = bind(*checkpoint);
    ASSERT_TRUE(bound) << bound.error().message;
    EXPECT_EQ(bound->of("down").format->id, FormatId::f8_e4m3);
    EXPECT_EQ(bound->of("down").scales, std::vector<float>{0.25f});
    for (const char* unstated : {"", R"(,"quantization":{})", R"(,"quantization":{"qscheme_act":"TENSOR"})"}) {
        TinyDirectory other = tiny;
        other.config = tiny_mistral(unstated).config;
        expect_refused(other, {"params.json", "'quantization' is missing", "feed_forward.w2"});
    }
    expect_refused(tiny_mistral(R"(,"quantization":{"qformat_weight":"fp8_e4m3"})"), {"no weight is stored so"});
}

TEST(MistralLayout, HasTheHeadOfTheEmbeddingWhereParamsSaySo) {
    TinyDirectory tiny = tiny_mistral(R"(,"tied_embeddings":true)");
    tiny.tensors.erase("output.weight");
    EXPECT_EQ(refusal(tiny), "bound");
    TinyDirectory own = tiny_mistral(R"(,"tied_embeddings":false)");
    own.tensors.erase("output.weight");
    expect_refused(own, {"output.weight", "is missing"});
}

TEST(MistralLayout, ReadsYarn) {
    for (const bool scales : {false, true}) {
        TinyDirectory tiny = tiny_mistral(fmt::format(
            R"(,"yarn":{{"factor":4,"original_max_position_embeddings":64,"beta":16,"alpha":2,"apply_scale":{}}})",
            scales));
        const auto checkpoint = tiny.open();
        const auto bound = bind(*checkpoint);
        ASSERT_TRUE(bound) << bound.error().message;
        const RopeSpec& rope = bound->config.ropes[0];
        EXPECT_EQ(rope.scaling, RopeSpec::Scaling::yarn);
        EXPECT_EQ(rope.factor, 4);
        EXPECT_EQ(rope.original_context, 64);
        EXPECT_EQ(rope.beta_fast, 16);
        EXPECT_EQ(rope.beta_slow, 2);
        EXPECT_NEAR(rope.attn_factor * yarn_attention(4, 1), scales ? 0.1 * std::log(4.0) + 1 : 1.0, 1e-12);
    }
}

TEST(MistralLayout, FindsExpertsUnderBothNames) {
    for (const std::string name : {"feed_forward", "block_sparse_moe"}) {
        TinyDirectory tiny = tiny_mistral(R"(,"moe":{"num_experts":2,"num_experts_per_tok":1})");
        const std::string mixture = "layers.0." + name + ".";
        std::vector<float> values(64 * 128, 0.5f);
        for (const char* part : {"w1", "w2", "w3"})
            tiny.tensors.erase(fmt::format("layers.0.feed_forward.{}.weight", part));
        tiny.floats(mixture + "gate.weight", {2, 64}, std::vector<float>(128, 0.25f));
        for (const int expert : {0, 1}) {
            tiny.floats(fmt::format("{}experts.{}.w1.weight", mixture, expert), {128, 64}, values);
            tiny.floats(fmt::format("{}experts.{}.w2.weight", mixture, expert), {64, 128}, values);
            tiny.floats(fmt::format("{}experts.{}.w3.weight", mixture, expert), {128, 64}, values);
        }
        const auto checkpoint = tiny.open();
        const auto bound = bind(*checkpoint);
        ASSERT_TRUE(bound) << bound.error().message;
        EXPECT_EQ(bound->of("expert_down").matrices.size(), 2u);
        EXPECT_EQ(bound->of("expert_up").name, mixture + "experts.{}.w3.weight");
        EXPECT_TRUE(bound->config.layers[0].mixture()->route.renormalise);
        EXPECT_EQ(bound->config.layers[0].mixture()->width, 128);
    }
}

}  // namespace
}  // namespace invar
