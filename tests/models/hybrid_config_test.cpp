// Configs of Nemotron-H and Granite 4: every way to say which layer is what, what is rounded, and one sentence for each
// value that has no law here or contradicts the rest.
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

using Edit = std::function<void(Json&)>;

// The golden directory with its config changed. Python's Infinity is written back where the text had it.
Result<ModelConfig> edited(const std::string& model, const Edit& edit) {
    const fs::path from = fs::path(INVAR_TEST_DATA) / "goldens_hf" / model;
    const fs::path folder = fs::temp_directory_path() / fmt::format("invar_hybrid_{}", getpid());
    fs::create_directories(folder);
    std::ifstream file(from / "config.json");
    std::string text{std::istreambuf_iterator<char>(file), {}};
    if (const size_t at = text.find("Infinity"); at != std::string::npos) text.replace(at, 8, "\"Infinity\"");
    Json config = Json::parse(text);
    edit(config);
    text = config.dump();
    if (const size_t at = text.find("\"Infinity\""); at != std::string::npos) text.replace(at, 10, "Infinity");
    std::ofstream(folder / "config.json") << text;
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

std::string error_of(const std::string& model, const Edit& edit) {
    const auto read = edited(model, edit);
    return read ? "no error" : read.error().message;
}

std::string kinds(const ModelConfig& config) {
    std::string text;
    for (const LayerSpec& layer : config.layers) {
        text += layer.state_space() != nullptr ? 'M' : layer.attention() != nullptr ? '*' : '.';
        text += layer.mixture() != nullptr ? 'E' : layer.dense() != nullptr ? '-' : '.';
    }
    return text;
}

bool says(const std::string& error, std::string_view part) { return error.find(part) != std::string::npos; }
std::string notes_of(const ModelConfig& config) { return fmt::format("{}", fmt::join(config.notes, "\n")); }

TEST(HybridConfig, ReadsTheLayersOfNemotronH) {
    const auto config = edited("nemotron-h-moe", [](Json& json) { json["moe_latent_size"] = 8; });
    ASSERT_TRUE(config) << config.error().message;
    EXPECT_EQ(kinds(*config), "M..EM.*..E");
    EXPECT_TRUE(config->ropes.empty());
    const StateSpaceGeometry& space = *config->layers[0].state_space();
    EXPECT_EQ(space.heads, (RecurrenceHeads{.key_heads = 2, .value_heads = 6, .key_width = 16, .value_width = 8}));
    EXPECT_EQ(space.taps, 4);
    const AttentionGeometry& attention = *config->layers[3].attention();
    EXPECT_EQ(attention.rope, -1);
    EXPECT_EQ(attention.key_width, 24);
    EXPECT_EQ(attention.scale, 1.0f / std::sqrt(24.0f));
    const MixtureGeometry& mixture = *config->layers[1].mixture();
    EXPECT_EQ(mixture.route.scoring, RouteSpec::Scoring::sigmoid);
    EXPECT_TRUE(mixture.route.renormalise);
    EXPECT_EQ(mixture.route.factor, 2.5f);
    EXPECT_EQ(mixture.route.sum_floor, 1e-20f);
    EXPECT_EQ(mixture.activation.kind, Activation::relu_squared);
    EXPECT_FALSE(mixture.gated);
    EXPECT_FALSE(mixture.shared_gated);
    EXPECT_EQ(mixture.shared_width, 20);
    EXPECT_EQ(mixture.latent, 8);
    const auto dense = edited("nemotron-h", [](Json&) {});
    ASSERT_TRUE(dense) << dense.error().message;
    EXPECT_EQ(kinds(*dense), "M..-M.*..-");
    EXPECT_FALSE(dense->layers[1].dense()->gated);
}

TEST(HybridConfig, TakesNemotronsLayersFromItsPatternOrItsList) {
    const auto list = edited("nemotron-h-moe", [](Json& json) {
        json.erase("hybrid_override_pattern");
        json["layers_block_type"] = {"linear_attention", "moe", "mamba", "full_attention", "mlp", "attention"};
        json["num_hidden_layers"] = 88;
    });
    ASSERT_TRUE(list) << list.error().message;
    EXPECT_EQ(kinds(*list), "M..EM.*..-*.");
    EXPECT_TRUE(says(notes_of(*list), "'num_hidden_layers' is 88, but the model has the 6 layers"));
    EXPECT_TRUE(says(error_of("nemotron-h", [](Json& json) { json["hybrid_override_pattern"] = "M-MX-"; }),
                     "has 'X' for layer 3, but only M, *, - and E"));
    EXPECT_TRUE(
        says(error_of("nemotron-h", [](Json& json) { json["hybrid_override_pattern"] = ""; }), "names 0 layers"));
    EXPECT_TRUE(says(error_of("nemotron-h",
                              [](Json& json) {
                                  json["layers_block_type"] = {"mamba", "mlp"};
                              }),
                     "name different layers; the file contradicts itself"));
    EXPECT_TRUE(says(error_of("nemotron-h",
                              [](Json& json) {
                                  json.erase("hybrid_override_pattern");
                                  json["layers_block_type"] = {"mamba", "conv"};
                              }),
                     "has the kind 'conv' for layer 1"));
    EXPECT_TRUE(says(error_of("nemotron-h", [](Json& json) { json.erase("hybrid_override_pattern"); }), "layer_types"));
}

TEST(HybridConfig, RefusesNemotronsThatItHasNoLawFor) {
    const auto error = [](const Edit& edit) { return error_of("nemotron-h-moe", edit); };
    EXPECT_TRUE(says(error([](Json& json) { json["mlp_hidden_act"] = "silu"; }), "'mlp_hidden_act' is 'silu'"));
    EXPECT_TRUE(says(error([](Json& json) { json["mamba_hidden_act"] = "gelu"; }), "'mamba_hidden_act' is 'gelu'"));
    EXPECT_TRUE(says(error([](Json& json) { json["use_bias"] = true; }), "'use_bias' is true"));
    EXPECT_TRUE(says(error([](Json& json) { json["mlp_bias"] = true; }), "'mlp_bias' is true"));
    EXPECT_TRUE(says(error([](Json& json) { json["sliding_window"] = 8; }), "windows are not supported"));
    EXPECT_TRUE(says(error([](Json& json) { json["n_shared_experts"] = 2; }), "'n_shared_experts' is 2, but only 1"));
    EXPECT_TRUE(says(error([](Json& json) {
                         json["time_step_limit"] = {0.001, 0.1};
                     }),
                     "'time_step_limit' is [0.001,0.1], but only [0.0, Infinity], which limits nothing"));
    EXPECT_TRUE(says(error([](Json& json) { json["time_step_limit"] = {"Infinity", 0.0}; }), "'time_step_limit' is"));
    EXPECT_TRUE(says(error([](Json& json) { json["use_conv_bias"] = false; }),
                     "'use_conv_bias' is false, but tensor 'backbone.layers.0.mixer.conv1d.bias' is there"));
    EXPECT_TRUE(says(error([](Json& json) { json["n_groups"] = 4; }), "must be a multiple of the 4 groups"));
    EXPECT_TRUE(says(error([](Json& json) { json["conv_kernel"] = 65; }), "'conv_kernel' is 65"));
    EXPECT_TRUE(says(error([](Json& json) { json["num_key_value_heads"] = 3; }), "4 query heads and 3 KV heads"));
    for (const char* key : {"mamba_num_heads", "mamba_head_dim", "num_attention_heads", "num_experts_per_tok",
                            "moe_intermediate_size", "moe_shared_expert_intermediate_size"})
        EXPECT_TRUE(says(error([&](Json& json) { json.erase(key); }), fmt::format("'{}'", key))) << key;
    for (const char* key : {"time_step_limit", "use_conv_bias", "layer_norm_epsilon"})
        EXPECT_EQ(error([&](Json& json) { json.erase(key); }), "no error") << key;
}

TEST(HybridConfig, ReadsGraniteInBothSpellings) {
    const auto old = edited("granitehybrid", [](Json&) {});
    ASSERT_TRUE(old) << old.error().message;
    const auto saved = edited("granitehybrid", [](Json& json) {
        json["layer_types"] = {"linear_attention", "full_attention", "linear_attention"};
        json["mamba_d_head"] = "auto";  // 2 x 32 elements over 4 heads
    });
    ASSERT_TRUE(saved) << saved.error().message;
    EXPECT_EQ(kinds(*old), "ME*EME");
    EXPECT_EQ(kinds(*saved), "ME*EME");
    for (const auto* config : {&*old, &*saved}) {
        EXPECT_EQ(config->layers[0].state_space()->heads,
                  (RecurrenceHeads{.key_heads = 1, .value_heads = 4, .key_width = 16, .value_width = 16}));
        EXPECT_EQ(config->embedding_scale, 12.0f);
        EXPECT_EQ(config->residual_scale, 0.22f);
        EXPECT_EQ(config->logit_scale, 0.125f);
        EXPECT_TRUE(config->ropes.empty());
        const AttentionGeometry& attention = *config->layers[1].attention();
        EXPECT_EQ(attention.scale, 0.6f);
        EXPECT_EQ(attention.key_width, 8);
        EXPECT_EQ(attention.rope, -1);
        const MixtureGeometry& mixture = *config->layers[0].mixture();
        EXPECT_EQ(mixture.route.scoring, RouteSpec::Scoring::softmax_of_chosen);
        EXPECT_EQ(mixture.width, 12);
        EXPECT_EQ(mixture.shared_width, 20);
        EXPECT_FALSE(mixture.shared_gated);
    }
    const auto rotated = edited("granitehybrid", [](Json& json) { json["position_embedding_type"] = "rope"; });
    ASSERT_TRUE(rotated) << rotated.error().message;
    ASSERT_EQ(rotated->ropes.size(), 1u);
    EXPECT_EQ(rotated->ropes[0].base, 1e4);
    EXPECT_EQ(rotated->layers[1].attention()->rope, 0);
    const auto absent = edited("granitehybrid", [](Json& json) { json.erase("position_embedding_type"); });
    ASSERT_TRUE(absent) << absent.error().message;
    EXPECT_TRUE(absent->ropes.empty()) << "transformers rotates only where it is told to";
    const auto dense = edited("granitehybrid-dense", [](Json& json) { json["intermediate_size"] = 99; });
    ASSERT_TRUE(dense) << dense.error().message;
    EXPECT_EQ(kinds(*dense), "M-*-M-");
    EXPECT_EQ(dense->layers[0].dense()->width, 20) << "the shared part's";
}

TEST(HybridConfig, RefusesGranitesThatItHasNoLawFor) {
    const auto error = [](const Edit& edit) { return error_of("granitehybrid", edit); };
    EXPECT_TRUE(says(error([](Json& json) { json["position_embedding_type"] = "alibi"; }),
                     "'position_embedding_type' is 'alibi'"));
    EXPECT_TRUE(says(error([](Json& json) { json["layer_types"][0] = "conv"; }), "has the kind 'conv' for layer 0"));
    EXPECT_TRUE(says(error([](Json& json) { json["layer_types"].push_back("mamba"); }),
                     "names the kinds of 4 layers, but the model has 3"));
    EXPECT_TRUE(says(error([](Json& json) { json["mamba_proj_bias"] = true; }), "'mamba_proj_bias' is true"));
    EXPECT_TRUE(says(error([](Json& json) { json["mamba_conv_bias"] = false; }),
                     "tensor 'model.layers.0.mamba.conv1d.bias' is there"));
    EXPECT_TRUE(says(error([](Json& json) { json["residual_multiplier"] = 0; }), "'residual_multiplier' is 0"));
    EXPECT_TRUE(says(error([](Json& json) { json["time_step_limit"] = {0.1, "Infinity"}; }), "'time_step_limit' is"));
    EXPECT_TRUE(says(error([](Json& json) {
                         json["mamba_d_head"] = "auto";
                         json["mamba_n_heads"] = 3;
                     }),
                     "the 3 heads of Mamba 2 have 64 elements together"));
}

// ---- GGUF

using Edits = std::function<void(GgufWriter&)>;

Result<ModelConfig> gguf_with(const Edits& more, std::vector<int32_t> kv_heads = {0, 0, 2, 0, 2},
                              std::vector<int32_t> widths = {0, 16, 0, 0, 16}) {
    test::TinyModel model = test::tiny("nemotron_h_moe");
    model.layers = 5;
    model.values = false;
    const std::string name = "nemotron_h_moe.";
    model.edit_metadata = [&](GgufWriter& writer) {
        writer.add_array<int32_t>(name + "attention.head_count_kv", kv_heads);
        writer.add_array<int32_t>(name + "feed_forward_length", widths);
        writer.add(name + "attention.layer_norm_epsilon", 1e-5f);
        writer.add(name + "nextn_predict_layers", uint32_t{1});
        for (const auto& [key, value] : {std::pair{"ssm.conv_kernel", 4u},
                                         {"ssm.state_size", 16u},
                                         {"ssm.group_count", 2u},
                                         {"ssm.inner_size", 64u},
                                         {"ssm.time_step_rank", 4u},
                                         {"expert_count", 8u},
                                         {"expert_used_count", 2u},
                                         {"expert_feed_forward_length", 16u},
                                         {"expert_shared_feed_forward_length", 24u},
                                         {"moe_latent_size", 12u}})
            writer.add(name + key, uint32_t{value});
        writer.add(name + "expert_weights_norm", true);
        writer.add(name + "expert_weights_scale", 2.5f);
        more(writer);
    };
    const std::vector<std::byte> bytes = model.bytes();
    TRY_ASSIGN(const Checkpoint checkpoint, Checkpoint::from_bytes(bytes, "toy.gguf"));
    return config_of(checkpoint);
}

std::string gguf_error(const Edits& more, std::vector<int32_t> kv_heads = {0, 0, 2, 0, 2},
                       std::vector<int32_t> widths = {0, 16, 0, 0, 16}) {
    const auto read = gguf_with(more, std::move(kv_heads), std::move(widths));
    return read ? "no error" : read.error().message;
}

TEST(HybridConfig, TakesNemotronsLayersOfGgufFilesFromHeadsAndWidths) {
    const auto config = gguf_with([](GgufWriter&) {});
    ASSERT_TRUE(config) << config.error().message;
    EXPECT_EQ(config->architecture, "nemotron_h");
    EXPECT_EQ(kinds(*config), "M..E*.M.") << "the last layer predicts further tokens";
    ASSERT_EQ(config->tensors_unused.size(), 1u);
    EXPECT_EQ(config->tensors_unused[0].pattern, "blk.4.*");
    const MixtureGeometry& mixture = *config->layers[1].mixture();
    EXPECT_EQ(mixture.route.scoring, RouteSpec::Scoring::sigmoid) << "no key says so";
    EXPECT_EQ(mixture.latent, 12);
    EXPECT_EQ(mixture.shared_width, 24);
    EXPECT_TRUE(says(gguf_error([](GgufWriter&) {}, {0, 2, 2, 0, 2}),
                     "give layer 1 attention and a feed-forward part, but it can have only one"));
    EXPECT_TRUE(says(gguf_error([](GgufWriter&) {}, {0, 0, 3, 0, 2}), "4 query heads and 3 KV heads"));
    EXPECT_TRUE(says(gguf_error([](GgufWriter&) {}, {0, 0, 2, 0}), "has 4 numbers, but the model has 5 layers"));
    EXPECT_TRUE(
        says(gguf_error([](GgufWriter& writer) { writer.add("nemotron_h_moe.attention.layer_norm_epsilon", 1e-4f); }),
             "both mean the same here, so only one can be right"));
    EXPECT_TRUE(says(gguf_error([](GgufWriter& writer) { writer.add("nemotron_h_moe.rope.scaling.finetuned", true); }),
                     "is true, but only false is supported"));
}

}  // namespace
}  // namespace invar
