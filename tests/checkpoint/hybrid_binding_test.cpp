// Binds a tiny Nemotron-H as ModelOpt stores it with several precisions: experts in NVFP4, the expert of every token
// and Mamba 2's projections in FP8, the rest as plain numbers. Experts work in a latent width. A tensor that is missing
// is refused by name.
#include <gtest/gtest.h>

#include "checkpoint/bound_directory.h"

namespace invar {
namespace {

using test::bind;
using test::refusal;
using test::TinyDirectory;

constexpr int64_t kWidth = 96, kLatent = 64, kExperts = 4, kExpertWidth = 128, kShared = 40;

void add(TinyDirectory& tiny, const std::string& name, std::vector<int64_t> shape) {
    int64_t count = 1;
    for (const int64_t extent : shape) count *= extent;
    tiny.floats(name, std::move(shape), std::vector<float>(static_cast<size_t>(count), 0.5f));
}

void add_fp8(TinyDirectory& tiny, const std::string& module, std::vector<int64_t> shape) {
    tiny.random_bytes(module + ".weight", "F8_E4M3", std::move(shape), 0x7E);
    tiny.number(module + ".weight_scale", 0.25f);
    tiny.number(module + ".input_scale", 0.5f);
}

void add_nvfp4(TinyDirectory& tiny, const std::string& module, int64_t rows, int64_t columns, float scale) {
    tiny.random_bytes(module + ".weight", "U8", {rows, columns / 2}, 255);
    tiny.random_bytes(module + ".weight_scale", "F8_E4M3", {rows, columns / 16}, 0x7E);
    tiny.number(module + ".weight_scale_2", scale);
    tiny.number(module + ".input_scale", 0.5f);
}

TinyDirectory mixed_precision() {
    TinyDirectory tiny;
    std::string layers;
    const auto quantized = [&](const std::string& module, const char* algorithm) {
        layers += fmt::format(R"({}"{}":{{"quant_algo":"{}","group_size":16}})", layers.empty() ? "" : ",", module,
                              algorithm);
    };
    add(tiny, "backbone.embeddings.weight", {32, kWidth});
    add(tiny, "backbone.norm_f.weight", {kWidth});
    add(tiny, "lm_head.weight", {32, kWidth});
    const std::string mamba = "backbone.layers.0.mixer.", moe = "backbone.layers.1.mixer.",
                      attention = "backbone.layers.2.mixer.";
    for (const char* layer : {"0", "1", "2"}) add(tiny, fmt::format("backbone.layers.{}.norm.weight", layer), {kWidth});
    // Four heads of 16, two groups, states of 16: the gate, x B C, and dt.
    add_fp8(tiny, mamba + "in_proj", {64 + 64 + 2 * 2 * 16 + 4, kWidth});
    add_fp8(tiny, mamba + "out_proj", {kWidth, 64});
    add(tiny, mamba + "conv1d.weight", {128, 1, 4});
    add(tiny, mamba + "conv1d.bias", {128});
    for (const char* vector : {"A_log", "dt_bias", "D"}) add(tiny, mamba + vector, {4});
    add(tiny, mamba + "norm.weight", {64});
    add(tiny, moe + "gate.weight", {kExperts, kWidth});
    add(tiny, moe + "gate.e_score_correction_bias", {kExperts});
    add(tiny, moe + "fc1_latent_proj.weight", {kLatent, kWidth});
    add(tiny, moe + "fc2_latent_proj.weight", {kWidth, kLatent});
    for (int64_t expert = 0; expert < kExperts; ++expert) {
        const std::string name = fmt::format("{}experts.{}.", moe, expert);
        const auto scale = static_cast<float>(expert + 1);
        add_nvfp4(tiny, name + "up_proj", kExpertWidth, kLatent, scale);
        add_nvfp4(tiny, name + "down_proj", kLatent, kExpertWidth, scale);
        quantized(name + "up_proj", "NVFP4");
        quantized(name + "down_proj", "NVFP4");
    }
    add_fp8(tiny, moe + "shared_experts.up_proj", {kShared, kWidth});
    add_fp8(tiny, moe + "shared_experts.down_proj", {kWidth, kShared});
    for (const std::string& module :
         {mamba + "in_proj", mamba + "out_proj", moe + "shared_experts.up_proj", moe + "shared_experts.down_proj"})
        quantized(module, "FP8");
    add(tiny, attention + "q_proj.weight", {64, kWidth});
    add(tiny, attention + "k_proj.weight", {32, kWidth});
    add(tiny, attention + "v_proj.weight", {32, kWidth});
    add(tiny, attention + "o_proj.weight", {kWidth, 64});
    tiny.config = fmt::format(
        R"({{"model_type":"nemotron_h","hybrid_override_pattern":"ME*","hidden_size":{},"vocab_size":32,)"
        R"("num_attention_heads":4,"num_key_value_heads":2,"head_dim":16,"max_position_embeddings":64,)"
        R"("layer_norm_epsilon":1e-5,"mamba_num_heads":4,"mamba_head_dim":16,"n_groups":2,"ssm_state_size":16,)"
        R"("conv_kernel":4,"use_conv_bias":true,"n_routed_experts":{},"num_experts_per_tok":2,"n_shared_experts":1,)"
        R"("moe_intermediate_size":{},"moe_shared_expert_intermediate_size":{},"moe_latent_size":{},)"
        R"("norm_topk_prob":true,"routed_scaling_factor":2.5,"time_step_limit":[0.0,Infinity],)"
        R"("quantization_config":{{"quant_method":"modelopt","quant_algo":"MIXED_PRECISION",)"
        R"("quantized_layers":{{{}}}}}}})",
        kWidth, kExperts, kExpertWidth, kShared, kLatent, layers);
    return tiny;
}

TEST(HybridBinding, TakesEachModuleInItsOwnPrecision) {
    TinyDirectory tiny = mixed_precision();
    const auto checkpoint = tiny.open();
    ASSERT_TRUE(checkpoint) << checkpoint.error().message;
    const auto bound = bind(*checkpoint);
    ASSERT_TRUE(bound) << bound.error().message;
    for (const char* role : {"expert_up", "expert_down"}) {
        EXPECT_EQ(bound->of(role).format->id, FormatId::nvfp4) << role;
        EXPECT_EQ(bound->of(role).scales, (std::vector<float>{1, 2, 3, 4})) << role;
    }
    EXPECT_EQ(bound->of("expert_up").shape, (std::vector<int64_t>{kExperts, kExpertWidth, kLatent}));
    EXPECT_EQ(bound->of("expert_down").shape, (std::vector<int64_t>{kExperts, kLatent, kExpertWidth}));
    for (const char* role : {"state_inputs", "shared_up", "shared_down"}) {
        EXPECT_EQ(bound->of(role).format->id, FormatId::f8_e4m3) << role;
        EXPECT_EQ(bound->of(role).scales, std::vector<float>{0.25f}) << role;
    }
    for (const char* role : {"query", "expert_latent_down", "expert_latent_up", "router", "output_head"})
        EXPECT_EQ(bound->of(role).format->id, FormatId::f32) << role;
}

// The root of all names is found by the embedding; a tensor of the first expert stands for those of all.
std::string by_another_name(const std::string& name) {
    if (name == "backbone.embeddings.weight") return "model.embed_tokens.weight";
    const size_t first = name.find("experts.0.");
    return first == std::string::npos ? name : name.substr(0, first) + "experts.{}." + name.substr(first + 10);
}

TEST(HybridBinding, RefusesEachMissingTensorByName) {
    int refused = 0;
    for (const auto& [name, tensor] : mixed_precision().tensors) {
        if (name.ends_with("input_scale")) continue;  // of activations, which are not quantised here
        TinyDirectory less = mixed_precision();
        less.tensors.erase(name);
        const std::string sentence = refusal(less);
        EXPECT_NE(sentence, "bound") << name;
        const bool named = sentence.find(name) != std::string::npos;
        const bool named_with_others = sentence.find(by_another_name(name)) != std::string::npos;
        EXPECT_TRUE(named || named_with_others) << "without " << name << ": " << sentence;
        ++refused;
    }
    EXPECT_EQ(refused, 3 + 3 + 4 + 6 + 4 + 8 * 3 + 4 + 4);
}

}  // namespace
}  // namespace invar
