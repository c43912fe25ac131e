// Synthetic directories: every dialect opens, with the tensors that its writers write, declared as they declare them;
// the weights have the sigma asked; the same seed gives the same bytes; what is cut into shards has an index that
// agrees. That compressed-tensors, ModelOpt and transformers read them the same way was checked with those packages.
#include "make/synth_directory.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <set>

#include "arithmetic/float_types.h"
#include "base/json.h"
#include "files/checkpoint.h"
#include "files/model_directory.h"
#include "make/quantize.h"
#include "make/synth_scheme.h"

namespace invar {
namespace {

namespace fs = std::filesystem;

class SynthDirectoryTest : public ::testing::Test {
  protected:
    ~SynthDirectoryTest() override { fs::remove_all(path_); }

    Result<ModelDirectory> make(std::string_view shape, std::string_view format, uint64_t shard = kSynthShardBytes,
                                uint64_t seed = 1) {
        fs::remove_all(path_);
        const SynthOptions options{.mix = std::string(format), .layers = 1, .seed = seed};
        const auto bytes = synthesize_directory(*find_shape(shape), options, path_, nullptr, shard);
        EXPECT_TRUE(bytes) << bytes.error().message;
        auto opened = ModelDirectory::open(path_);
        EXPECT_TRUE(opened) << opened.error().message;
        return opened;
    }

    fs::path path_ = fs::temp_directory_path() / fmt::format("invar_synth_directory_{}", getpid());
};

// "F8_E4M3 [512, 512]"; "" where there is none.
std::string shown(const ModelDirectory& model, const std::string& tensor) {
    const SafeTensor* found = model.find(tensor);
    return found == nullptr ? "" : fmt::format("{} [{}]", found->dtype_name, fmt::join(found->shape, ", "));
}

TEST_F(SynthDirectoryTest, EveryDialectHasItsTensors) {
    struct Expected {
        const char* format;
        std::map<std::string, std::string> tensors;  // of mlp.experts.3.up_proj, [512, 512]
        const char* declared;                        // quant_method or "none"
    };
    const Expected all[] = {
        {"hf-f32", {{"weight", "F32 [512, 512]"}}, "none"},
        {"hf-f16", {{"weight", "F16 [512, 512]"}}, "none"},
        {"hf-bf16", {{"weight", "BF16 [512, 512]"}}, "none"},
        {"hf-fp8",
         {{"weight", "F8_E4M3 [512, 512]"}, {"weight_scale", "BF16 [1]"}, {"input_scale", "F32 [1]"}},
         "compressed-tensors"},
        {"hf-fp8-channel", {{"weight", "F8_E4M3 [512, 512]"}, {"weight_scale", "BF16 [512, 1]"}}, "compressed-tensors"},
        {"hf-fp8-block", {{"weight", "F8_E4M3 [512, 512]"}, {"weight_scale_inv", "BF16 [4, 4]"}}, "fp8"},
        {"hf-fp8-block-ue8m0", {{"weight", "F8_E4M3 [512, 512]"}, {"weight_scale_inv", "F8_E8M0 [4, 4]"}}, "fp8"},
        {"hf-fp8-modelopt",
         {{"weight", "F8_E4M3 [512, 512]"}, {"weight_scale", "F32 []"}, {"input_scale", "F32 []"}},
         "modelopt"},
        {"hf-nvfp4",
         {{"weight_packed", "U8 [512, 256]"},
          {"weight_scale", "F8_E4M3 [512, 32]"},
          {"weight_global_scale", "F32 [1]"},
          {"input_global_scale", "F32 [1]"}},
         "compressed-tensors"},
        {"hf-nvfp4-modelopt",
         {{"weight", "U8 [512, 256]"},
          {"weight_scale", "F8_E4M3 [512, 32]"},
          {"weight_scale_2", "F32 []"},
          {"input_scale", "F32 []"}},
         "modelopt"},
        {"hf-mxfp4", {{"weight_packed", "U8 [512, 256]"}, {"weight_scale", "U8 [512, 16]"}}, "compressed-tensors"},
        {"hf-int4-g32",
         {{"weight_packed", "I32 [512, 64]"}, {"weight_scale", "BF16 [512, 16]"}, {"weight_shape", "I64 [2]"}},
         "compressed-tensors"},
        {"hf-int4-g128",
         {{"weight_packed", "I32 [512, 64]"}, {"weight_scale", "BF16 [512, 4]"}, {"weight_shape", "I64 [2]"}},
         "compressed-tensors"},
        {"hf-mixed", {{"weight_packed", "U8 [512, 256]"}, {"weight_global_scale", "F32 [1]"}}, "compressed-tensors"},
        {"hf-mixed-modelopt", {{"weight", "U8 [512, 256]"}, {"weight_scale_2", "F32 []"}}, "modelopt"},
    };
    ASSERT_EQ(std::size(all), directory_formats().size());
    for (const Expected& expected : all) {
        SCOPED_TRACE(expected.format);
        const auto model = make("tiny-moe", expected.format);
        ASSERT_TRUE(model);
        for (const auto& [tensor, wanted] : expected.tensors) {
            EXPECT_EQ(shown(*model, "model.layers.0.mlp.experts.3.up_proj." + tensor), wanted) << tensor;
        }
        const Json* quantization = model->quantization_config();
        EXPECT_EQ(quantization == nullptr ? "none" : quantization->at("quant_method").get<std::string>(),
                  expected.declared);
        EXPECT_EQ(model->hf_quant_config() != nullptr, std::string_view(expected.declared) == "modelopt");
        // Routers, norms and the head stay.
        for (const char* name : {"model.layers.0.mlp.gate.weight", "lm_head.weight", "model.norm.weight"}) {
            const Dtype dtype = model->find(name)->dtype;
            EXPECT_TRUE(dtype == Dtype::bf16 || std::string_view(expected.declared) == "none") << name;
        }
    }
}

TEST_F(SynthDirectoryTest, Gemma4HasExpertsInOneTensorUnlessTheyAreQuantised) {
    const std::string at = "model.layers.0.";  // the only one, so it sees all positions
    {
        const auto model = make("tiny-gemma4", "hf-bf16");
        ASSERT_TRUE(model);
        EXPECT_EQ(shown(*model, at + "experts.gate_up_proj"), "BF16 [16, 1024, 512]");
        EXPECT_EQ(shown(*model, at + "experts.down_proj"), "BF16 [16, 512, 512]");
        EXPECT_EQ(shown(*model, at + "self_attn.v_proj.weight"), "");  // values are keys
        EXPECT_EQ(shown(*model, at + "self_attn.q_proj.weight"), "BF16 [1024, 512]");
        EXPECT_EQ(shown(*model, at + "layer_scalar"), "BF16 [1]");
    }
    fs::remove_all(path_);
    const auto model = make("tiny-gemma4", "hf-nvfp4");
    ASSERT_TRUE(model);
    EXPECT_EQ(shown(*model, at + "experts.15.down_proj.weight_packed"), "U8 [512, 256]");
    EXPECT_EQ(shown(*model, at + "router.proj.weight"), "BF16 [16, 512]");
    EXPECT_EQ(shown(*model, at + "router.per_expert_scale"), "BF16 [16]");
}

TEST_F(SynthDirectoryTest, MixedFormatsHaveTheOtherInAttention) {
    EXPECT_EQ(shown(*make("tiny-moe", "hf-mixed"), "model.layers.0.self_attn.q_proj.weight_scale"), "BF16 [512, 1]");
    const auto model = make("tiny-moe", "hf-mixed-modelopt");
    EXPECT_EQ(shown(*model, "model.layers.0.self_attn.q_proj.weight_scale"), "F32 []");
    const Json& layers = model->hf_quant_config()->at("quantized_layers");
    EXPECT_EQ(layers.at("model.layers.0.self_attn.q_proj").at("quant_algo"), "FP8");
    EXPECT_EQ(layers.at("model.layers.0.mlp.experts.15.down_proj").at("quant_algo"), "NVFP4");
    EXPECT_FALSE(layers.contains("model.layers.0.mlp.gate"));
}

TEST_F(SynthDirectoryTest, MistralSmallHasItsPrefixesTowerAndNestedConfig) {
    ShapeDocument shape = *find_shape("mistral-small-3.2-24b");
    shape.text()["hidden_size"] = 64;  // the names and configs are the same; one real layer has three gigabytes
    shape.text()["intermediate_size"] = 128;
    shape.text()["vocab_size"] = 512;
    const SynthOptions options{.mix = "hf-nvfp4", .layers = 1};
    ASSERT_TRUE(synthesize_directory(shape, options, path_, nullptr));
    const auto model = ModelDirectory::open(path_);
    ASSERT_TRUE(model) << model.error().message;
    EXPECT_EQ(shown(*model, "language_model.model.layers.0.mlp.up_proj.weight_packed"), "U8 [128, 32]");
    EXPECT_EQ(shown(*model, "language_model.lm_head.weight"), "BF16 [512, 64]");
    EXPECT_EQ(shown(*model, "vision_tower.transformer.layers.0.feed_forward.up_proj.weight"), "BF16 [4096, 1024]");
    EXPECT_EQ(shown(*model, "multi_modal_projector.linear_1.weight"), "BF16 [5120, 1024]");
    EXPECT_EQ(model->config().at("model_type"), "mistral3");
    EXPECT_EQ(model->config().at("text_config").at("head_dim"), 128);
    EXPECT_TRUE(model->config().at("text_config").at("sliding_window").is_null());
    const Json& ignore = model->quantization_config()->at("ignore");
    const auto lists = [&](const char* module) { return std::count(ignore.begin(), ignore.end(), module); };
    EXPECT_EQ(lists("lm_head"), 1);
    EXPECT_EQ(lists("model.vision_tower.transformer.layers.0.attention.q_proj"), 1);
    EXPECT_TRUE(model->has("chat_template.jinja"));
}

double sigma_of(const ModelDirectory& model, const std::string& name) {
    const SafeTensor& tensor = *model.find(name);
    double squares = 0;
    for (uint64_t i = 0; i < tensor.bytes; i += 2) {
        uint16_t bits = 0;
        std::memcpy(&bits, tensor.data + i, 2);
        squares += double{bf16_to_f32(bits)} * bf16_to_f32(bits);
    }
    return std::sqrt(squares / static_cast<double>(tensor.elements()));
}

TEST_F(SynthDirectoryTest, WeightsHaveTheSigmaAsked) {
    const auto model = make("tiny", "hf-bf16");
    EXPECT_NEAR(sigma_of(*model, "model.layers.0.mlp.up_proj.weight"), 0.02, 0.0005);
    EXPECT_NEAR(sigma_of(*model, "model.layers.0.input_layernorm.weight"), 1.0, 0.0);
}

TEST_F(SynthDirectoryTest, GlobalScalesOfTheTwoDialectsAreReciprocal) {
    const auto number = [](const ModelDirectory& model, const std::string& name) {
        float value = 0;
        std::memcpy(&value, model.find(name)->data, 4);
        return value;
    };
    const std::string up = "model.layers.0.mlp.up_proj.", gate = "model.layers.0.mlp.gate_proj.";
    const auto compressed = make("tiny", "hf-nvfp4");
    const float divisor = number(*compressed, up + "weight_global_scale");
    EXPECT_GT(divisor, 1000.0f);
    EXPECT_EQ(divisor, number(*compressed, gate + "weight_global_scale"));
    const auto modelopt = make("tiny", "hf-nvfp4-modelopt");
    EXPECT_NEAR(number(*modelopt, up + "weight_scale_2") * divisor, 1.0, 1e-6);
}

TEST_F(SynthDirectoryTest, ShardsHaveAnIndexThatAgrees) {
    const auto whole = make("tiny-moe", "hf-nvfp4");
    std::set<std::string> names;
    for (const SafeTensor& tensor : whole->tensors()) names.insert(tensor.name);
    EXPECT_EQ(whole->mappings().size(), 1u);
    const auto shards = make("tiny-moe", "hf-nvfp4", 2'000'000);  // opening compares every shard with the index
    EXPECT_GE(shards->mappings().size(), 4u);
    for (const SafeTensor& tensor : shards->tensors()) EXPECT_EQ(names.erase(tensor.name), 1u) << tensor.name;
    EXPECT_TRUE(names.empty());
}

TEST_F(SynthDirectoryTest, SameSeedSameBytes) {
    const std::string first = make("tiny", "hf-mxfp4")->digest().value();
    EXPECT_EQ(make("tiny", "hf-mxfp4")->digest().value(), first);
    EXPECT_NE(make("tiny", "hf-mxfp4", kSynthShardBytes, 2)->digest().value(), first);
}

TEST_F(SynthDirectoryTest, LeavesNothingWhereItStopsAndOverwritesNothing) {
    const ShapeDocument shape = *find_shape("tiny");
    const SynthOptions options{.mix = "hf-bf16"};
    const auto stopped = synthesize_directory(shape, options, path_, [](int64_t, int64_t) { return false; });
    ASSERT_FALSE(stopped);
    EXPECT_EQ(stopped.error().message, "stopped; no directory was written");
    EXPECT_FALSE(fs::exists(path_));
    EXPECT_FALSE(fs::exists(path_.string() + ".partial"));
    ASSERT_TRUE(synthesize_directory(shape, options, path_, nullptr));
    const auto again = synthesize_directory(shape, options, path_, nullptr);
    ASSERT_FALSE(again);
    EXPECT_EQ(again.error().message, path_.string() + ": exists already; give another name");
    EXPECT_FALSE(synthesize_directory(shape, {.mix = "hf-fp7"}, path_, nullptr));
    EXPECT_FALSE(synthesize_directory(shape, {.mix = "hf-bf16", .layers = 9}, path_, nullptr));
}

// The user of a directory has its names before them, not those of the GGUF file that is not written.
TEST_F(SynthDirectoryTest, QuantizeNamesTheDirectorysTensors) {
    make("tiny", "hf-int4-g128");
    const auto checkpoint = Checkpoint::open(path_);
    ASSERT_TRUE(checkpoint) << checkpoint.error().message;
    const auto refused = plan_quantize(*checkpoint, {.mix = "q4_k_m"});
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().message.find(path_.string() + ": tensor 'model.layers.0."), 0u)
        << refused.error().message;
    EXPECT_NE(refused.error().message.find(" is int4_g128 already, and quantising it again as "), std::string::npos);
    EXPECT_NE(refused.error().message.find(", or give --allow-requantize"), std::string::npos);
}

}  // namespace
}  // namespace invar
