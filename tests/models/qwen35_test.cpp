// Configs of Qwen3.5, Qwen3-Next and the mixtures of Qwen2: every way to say which layers recur, what is left out, and
// one sentence for each value that has no law here or contradicts the rest.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/json.h"
#include "models/architecture.h"
#include "models/tiny_model.h"

namespace invar {
namespace {

namespace fs = std::filesystem;

Result<ModelConfig> config_of(const Checkpoint& checkpoint) {
    TRY_ASSIGN(const Architecture* architecture, find_architecture(checkpoint));
    return architecture->read_config(checkpoint);
}

// The golden directory with its config changed; `edit` gets the text model's part.
Result<ModelConfig> edited(const std::string& model, const std::function<void(Json&)>& edit) {
    const fs::path from = fs::path(INVAR_TEST_DATA) / "goldens_hf" / model;
    const fs::path folder = fs::temp_directory_path() / fmt::format("invar_qwen35_{}", getpid());
    fs::create_directories(folder);
    std::ifstream file(from / "config.json");
    Json config = Json::parse(file);
    edit(config.contains("text_config") ? config["text_config"] : config);
    std::ofstream(folder / "config.json") << config.dump();
    fs::copy_file(from / "model.safetensors", folder / "model.safetensors", fs::copy_options::overwrite_existing);
    Result<ModelConfig> read = fail("not opened");
    if (auto checkpoint = Checkpoint::open(folder)) {
        read = config_of(*checkpoint);
    } else {
        read = pass_on(std::move(checkpoint));
    }
    fs::remove_all(folder);
    return read;
}

std::string error_of(const std::string& model, const std::function<void(Json&)>& edit) {
    const auto read = edited(model, edit);
    return read ? "no error" : read.error().message;
}

std::string kinds(const ModelConfig& config) {
    std::string text;
    for (const LayerSpec& layer : config.layers) text += layer.delta() != nullptr ? 'd' : layer.attention() ? 'a' : '?';
    return text;
}

bool says(const std::string& error, std::string_view part) { return error.find(part) != std::string::npos; }

TEST(Qwen35, ReadsWhatItsConfigSays) {
    const auto config = edited("qwen35moe", [](Json&) {});
    ASSERT_TRUE(config) << config.error().message;
    EXPECT_EQ(kinds(*config), "dda");
    const DeltaGeometry& delta = *config->layers[0].delta();
    EXPECT_EQ(
        delta.heads,
        (RecurrenceHeads{.key_heads = 2, .value_heads = 6, .key_width = 16, .value_width = 16, .interleaved = true}));
    EXPECT_EQ(delta.taps, 4);
    EXPECT_EQ(delta.scale, 0.25f);
    EXPECT_EQ(delta.inner_epsilon, 1e-6f);
    const AttentionGeometry& attention = *config->layers[2].attention();
    EXPECT_TRUE(attention.gated);
    EXPECT_EQ(attention.heads, 4);
    EXPECT_EQ(config->ropes.at(0).rotary_width, 8) << "a quarter of 32";
    const MixtureGeometry& mixture = *config->layers[1].mixture();
    EXPECT_TRUE(mixture.route.renormalise) << "no key says so";
    EXPECT_EQ(mixture.shared_width, 12);
    EXPECT_TRUE(mixture.shared_gated);
    const auto next = edited("qwen3next", [](Json&) {});
    ASSERT_TRUE(next) << next.error().message;
    EXPECT_FALSE(next->layers[0].delta()->heads.interleaved);
    const auto dense = edited("qwen3next-dense", [](Json&) {});
    ASSERT_TRUE(dense) << dense.error().message;
    EXPECT_EQ(dense->layers[0].dense()->width, 28);
    EXPECT_NE(dense->layers[1].mixture(), nullptr);
}

TEST(Qwen35, FindsTheLayersThatRecurInEverySpelling) {
    const auto by_interval = edited("qwen35moe", [](Json& text) { text.erase("layer_types"); });
    ASSERT_TRUE(by_interval) << by_interval.error().message;
    EXPECT_EQ(kinds(*by_interval), "dda");
    const auto by_class = edited("qwen35moe", [](Json& text) {
        text.erase("layer_types");
        text.erase("full_attention_interval");
    });
    ASSERT_TRUE(by_class) << by_class.error().message;
    EXPECT_EQ(kinds(*by_class), "ddd");
    EXPECT_TRUE(says(fmt::format("{}", fmt::join(by_class->notes, "\n")), "every fourth layer attends"));
    EXPECT_TRUE(says(error_of("qwen35moe", [](Json& text) { text["layer_types"][1] = "sliding_attention"; }),
                     "has the kind 'sliding_attention' for layer 1, but only linear_attention and full_attention"));
    EXPECT_TRUE(says(error_of("qwen35moe", [](Json& text) { text["layer_types"].push_back("full_attention"); }),
                     "names the kinds of 4 layers, but the model has 3"));
    EXPECT_TRUE(says(error_of("qwen35moe",
                              [](Json& text) {
                                  text.erase("layer_types");
                                  text["full_attention_interval"] = 0;
                              }),
                     "'full_attention_interval' is 0"));
}

TEST(Qwen35, RefusesWhatItHasNoLawFor) {
    const auto error = [](const std::function<void(Json&)>& edit) { return error_of("qwen35moe", edit); };
    EXPECT_TRUE(says(error([](Json& t) { t["attn_output_gate"] = false; }), "'attn_output_gate' is false"));
    EXPECT_TRUE(says(error([](Json& t) { t["hidden_act"] = "gelu"; }), "'hidden_act' is 'gelu'"));
    EXPECT_TRUE(says(error([](Json& t) { t["rope_parameters"]["rope_type"] = "dynamic"; }),
                     "rope_type' is 'dynamic', which is not supported"));
    EXPECT_TRUE(says(error([](Json& t) { t["rope_parameters"]["partial_rotary_factor"] = 1.5; }),
                     "'rope_parameters.partial_rotary_factor' is 1.5, but at most the whole head can turn"));
    EXPECT_TRUE(
        says(error([](Json& t) { t["rope_parameters"]["partial_rotary_factor"] = 0.1; }), "needs an even number"));
    EXPECT_TRUE(says(error([](Json& t) { t["linear_num_value_heads"] = 5; }),
                     "'linear_num_value_heads' is 5, but must be a multiple of the 2 key heads"));
    EXPECT_TRUE(says(error([](Json& t) { t["linear_num_key_heads"] = 0; }), "'linear_num_key_heads' is 0"));
    EXPECT_TRUE(says(error([](Json& t) { t["linear_conv_kernel_dim"] = 65; }), "'linear_conv_kernel_dim' is 65"));
    EXPECT_TRUE(
        says(error([](Json& t) { t["num_experts"] = 0; }), "architecture qwen35moe needs a mixture of experts"));
    EXPECT_TRUE(says(error([](Json& t) { t["n_shared_experts"] = 2; }), "shared experts beyond one are not supported"));
    EXPECT_TRUE(says(error([](Json& t) { t["routed_scaling_factor"] = 2.5; }), "'routed_scaling_factor' is 2.5"));
    for (const char* key : {"linear_num_value_heads", "linear_key_head_dim", "linear_value_head_dim", "head_dim",
                            "linear_conv_kernel_dim", "num_attention_heads", "moe_intermediate_size"}) {
        const std::string missing = error([&](Json& t) { t.erase(key); });
        EXPECT_TRUE(says(missing, key) || says(missing, "intermediate_size")) << key << ": " << missing;
    }
    EXPECT_TRUE(says(error_of("qwen35",
                              [](Json& t) {
                                  t["num_experts"] = 4;
                                  t["num_experts_per_tok"] = 2;
                                  t["moe_intermediate_size"] = 8;
                              }),
                     "architecture qwen35 has no mixture of experts"));
    EXPECT_TRUE(says(error_of("qwen2moe", [](Json& t) { t["use_sliding_window"] = true; }),
                     "'layer_types' does not say which layers have windows"));
}

// ---- GGUF

std::function<void(GgufWriter&)> keys_of_delta(uint32_t value_heads = 4) {
    return [value_heads](GgufWriter& writer) {
        writer.add("qwen35.ssm.conv_kernel", uint32_t{4});
        writer.add("qwen35.ssm.state_size", uint32_t{16});
        writer.add("qwen35.ssm.group_count", uint32_t{2});
        writer.add("qwen35.ssm.time_step_rank", value_heads);
        writer.add("qwen35.ssm.inner_size", uint32_t{64});
    };
}

Result<ModelConfig> config_with(const std::function<void(GgufWriter&)>& more, uint32_t value_heads = 4) {
    test::TinyModel model = test::tiny("qwen35");
    model.layers = 5;
    model.values = false;
    model.edit_metadata = [&](GgufWriter& writer) {
        keys_of_delta(value_heads)(writer);
        more(writer);
    };
    model.edit_tensors = [](std::vector<test::TinyTensor>& tensors) {
        for (const int layer : {0, 2})
            tensors.push_back({fmt::format("blk.{}.ssm_a", layer), {4}, &format(FormatId::f32)});
    };
    const std::vector<std::byte> bytes = model.bytes();
    TRY_ASSIGN(const Checkpoint checkpoint, Checkpoint::from_bytes(bytes, "toy.gguf"));
    return config_of(checkpoint);
}

std::string error_with(const std::function<void(GgufWriter&)>& more, uint32_t value_heads = 4) {
    const auto read = config_with(more, value_heads);
    return read ? "no error" : read.error().message;
}

TEST(Qwen35, LeavesOutTheLayersOfGgufFilesThatPredict) {
    const auto interval = config_with([](GgufWriter& writer) {
        writer.add("qwen35.full_attention_interval", uint32_t{2});
        writer.add("qwen35.nextn_predict_layers", uint32_t{1});
    });
    ASSERT_TRUE(interval) << interval.error().message;
    EXPECT_EQ(kinds(*interval), "dada");
    ASSERT_EQ(interval->tensors_unused.size(), 1u);
    EXPECT_EQ(interval->tensors_unused[0].pattern, "blk.4.*");
    EXPECT_TRUE(says(error_with([](GgufWriter& writer) { writer.add("qwen35.nextn_predict_layers", uint32_t{5}); }),
                     "'qwen35.nextn_predict_layers' is 5, but must be between 0 and 4"));
}

TEST(Qwen35, TakesTheKindsOfOldGgufFilesFromTheirTensors) {
    const auto old = config_with([](GgufWriter&) {});
    ASSERT_TRUE(old) << old.error().message;
    EXPECT_EQ(kinds(*old), "dadaa");
    EXPECT_TRUE(says(fmt::format("{}", fmt::join(old->notes, "\n")), "layers with a tensor 'ssm_a'"));
}

TEST(Qwen35, RefusesHeadsThatDoNotDivide) {
    EXPECT_TRUE(
        says(error_with([](GgufWriter&) {}, 3), "'qwen35.ssm.inner_size' is 64, but must be a multiple of the 3"));
    EXPECT_TRUE(says(error_with([](GgufWriter&) {}, 1), "must be a multiple of the 2 key heads"));
    EXPECT_TRUE(says(error_with([](GgufWriter& writer) { writer.add("qwen35.ssm.inner_size", uint32_t{1} << 20); }),
                     "by at most 1024"));
}

}  // namespace
}  // namespace invar
