// Reads the hyper-parameters of each architecture from a GGUF file: checks every number of the config, and one sentence
// with the key for numbers that are missing, out of range or contradict each other.
#include "models/config.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "models/architecture.h"
#include "models/tiny_model.h"

namespace invar {
namespace {

using test::TinyModel;

Result<ModelConfig> config_of(std::vector<std::byte> bytes) {
    TRY_ASSIGN(const Checkpoint checkpoint, Checkpoint::from_bytes(bytes, "toy.gguf"));
    TRY_ASSIGN(const Architecture* architecture, find_architecture(checkpoint));
    return architecture->read_config(checkpoint);
}

TinyModel toy(const std::string& architecture, std::function<void(GgufWriter&)> edit = {}) {
    TinyModel model = test::tiny(architecture);
    model.values = false;
    model.edit_metadata = std::move(edit);
    return model;
}

std::string error_of(const std::string& architecture, std::function<void(GgufWriter&)> edit) {
    const auto config = config_of(toy(architecture, std::move(edit)).bytes());
    return config ? "no error" : config.error().message;
}

std::map<std::string, std::string> fields(const ModelConfig& config) {
    std::map<std::string, std::string> result;
    for (const ConfigField& field : fields_of(config))
        EXPECT_TRUE(result.emplace(field.name, field.value).second) << field.name;
    return result;
}

TEST(Config, HasEveryNumberOfEveryArchitecture) {
    int compared = 0;
    for (const std::string& name : test::tiny_architectures()) {
        const TinyModel model = toy(name);
        const auto config = config_of(model.bytes());
        ASSERT_TRUE(config) << config.error().message;
        EXPECT_EQ(config->architecture, name);
        EXPECT_EQ(config->name, "tiny " + name);
        EXPECT_EQ(config->vocabulary, 260);
        EXPECT_EQ(config->context_length, 256);
        EXPECT_EQ(config->most_experts(), name == "qwen3moe" ? 8 : 0);
        EXPECT_EQ(config->most_experts_per_token(), name == "qwen3moe" ? 2 : 0);
        const std::map<std::string, std::string> found = fields(*config);
        std::map<std::string, std::string> wanted = {
            {"the width", "256"},
            {"the number of layers", "2"},
            {"the last norm's epsilon", "1e-05"},
            {"rope's pairing", "halves"},
            {"rope's width", "64"},
            {"rope's base", "10000"},
            {"rope's scaling", "none"},
            {"layer 1's query heads", "4"},
            {"layer 1's KV heads", "2"},
            {"layer 1's key width", "64"},
            {"layer 1's value width", "64"},
            {"layer 1's window", "0"},
            {"layer 1's scale of scores", "0.125"},
            {"layer 1's norms' epsilon", "1e-05"},
        };
        if (name == "qwen3moe") {
            wanted["layer 1's experts"] = "8";
            wanted["layer 1's experts per token"] = "2";
            wanted["layer 1's experts' width"] = "256";
        } else {
            wanted["layer 1's feed-forward width"] = "512";
        }
        for (const auto& [field, value] : wanted) {
            ASSERT_TRUE(found.contains(field)) << name << " has no " << field;
            EXPECT_EQ(found.at(field), value) << name << ": " << field;
            ++compared;
        }
    }
    EXPECT_EQ(compared, 4 * 15 + 2);
}

TEST(Config, TakesANumberForEachLayerWhereTheFileHasAnArray) {
    const auto config =
        config_of(toy("llama", [](GgufWriter& writer) {
                      writer.add_array<uint32_t>("llama.attention.head_count_kv", std::vector<uint32_t>{2, 4});
                      writer.add_array<uint32_t>("llama.feed_forward_length", std::vector<uint32_t>{512, 768});
                  }).bytes());
    ASSERT_TRUE(config) << config.error().message;
    ASSERT_EQ(config->layers.size(), 2u);
    EXPECT_EQ(config->layers[0].attention()->kv_heads, 2);
    EXPECT_EQ(config->layers[1].attention()->kv_heads, 4);
    EXPECT_EQ(config->layers[0].dense()->width, 512);
    EXPECT_EQ(config->layers[1].dense()->width, 768);
    EXPECT_EQ(config->kv_geometry()[1].kv_heads, 4);
    EXPECT_EQ(error_of("llama",
                       [](GgufWriter& writer) {
                           writer.add_array<uint32_t>("llama.attention.head_count_kv", std::vector<uint32_t>{2, 4, 2});
                       }),
              "toy.gguf: metadata key 'llama.attention.head_count_kv' has 3 numbers, but the model has 2 layers");
}

TEST(Config, ReadsRopeScalingInEachSpelling) {
    const auto linear = config_of(toy("qwen2", [](GgufWriter& writer) {
                                      writer.add("qwen2.rope.scaling.type", "linear");
                                      writer.add("qwen2.rope.scaling.factor", 4.0f);
                                  }).bytes());
    ASSERT_TRUE(linear) << linear.error().message;
    EXPECT_EQ(linear->ropes.at(0).scaling, RopeSpec::Scaling::linear);
    EXPECT_EQ(linear->ropes.at(0).factor, 4.0);
    const auto old =
        config_of(toy("qwen2", [](GgufWriter& writer) { writer.add("qwen2.rope.scale_linear", 2.0f); }).bytes());
    ASSERT_TRUE(old) << old.error().message;
    EXPECT_EQ(old->ropes.at(0).scaling, RopeSpec::Scaling::linear);
    EXPECT_EQ(old->ropes.at(0).factor, 2.0);
    const auto yarn = config_of(toy("qwen3", [](GgufWriter& writer) {
                                    writer.add("qwen3.rope.scaling.type", "yarn");
                                    writer.add("qwen3.rope.scaling.factor", 4.0f);
                                    writer.add("qwen3.rope.scaling.original_context_length", uint32_t{32768});
                                    writer.add("qwen3.rope.scaling.yarn_beta_fast", 16.0f);
                                }).bytes());
    ASSERT_TRUE(yarn) << yarn.error().message;
    const RopeSpec& rope = yarn->ropes.at(0);
    EXPECT_EQ(rope.scaling, RopeSpec::Scaling::yarn);
    EXPECT_EQ(rope.factor, 4.0);
    EXPECT_EQ(rope.original_context, 32768.0);
    EXPECT_EQ(rope.beta_fast, 16.0);
    EXPECT_EQ(rope.beta_slow, 1.0);
}

// A file's metadata one key at a time, so that each can be left out.
struct Key {
    std::string name;
    std::function<void(GgufWriter&)> write;
};

std::vector<Key> required_keys() {
    std::vector<Key> keys;
    const auto number = [&](const std::string& name, uint32_t value) {
        keys.push_back({name, [name, value](GgufWriter& writer) { writer.add(name, value); }});
    };
    const auto real = [&](const std::string& name, float value) {
        keys.push_back({name, [name, value](GgufWriter& writer) { writer.add(name, value); }});
    };
    number("qwen3.block_count", 1);
    number("qwen3.context_length", 64);
    number("qwen3.embedding_length", 64);
    number("qwen3.feed_forward_length", 64);
    number("qwen3.attention.head_count", 2);
    real("qwen3.attention.layer_norm_rms_epsilon", 1e-6f);
    real("qwen3.rope.freq_base", 1e6f);
    return keys;
}

std::vector<std::byte> file_without(size_t left_out) {
    GgufWriter writer;
    writer.add("general.architecture", "qwen3");
    const std::vector<Key> keys = required_keys();
    for (size_t i = 0; i < keys.size(); ++i) {
        if (i != left_out) keys[i].write(writer);
    }
    for (const char* name : {"token_embd.weight", "blk.0.attn_k.weight", "blk.0.attn_v.weight"})
        EXPECT_TRUE(writer.add_tensor(name, format(FormatId::f32), std::vector<int64_t>{64, 64}));
    std::vector<std::byte> bytes = writer.header();
    bytes.resize(bytes.size() + 3 * 64 * 64 * 4);
    return bytes;
}

TEST(Config, NothingThatGivesMeaningHasADefault) {
    const std::vector<Key> keys = required_keys();
    for (size_t i = 0; i < keys.size(); ++i) {
        const auto config = config_of(file_without(i));
        ASSERT_FALSE(config) << "reads without " << keys[i].name;
        EXPECT_NE(config.error().message.find("'" + keys[i].name + "'"), std::string::npos) << config.error().message;
    }
    const auto whole = config_of(file_without(keys.size()));
    ASSERT_TRUE(whole) << whole.error().message;
    const AttentionGeometry& attention = *whole->layers.at(0).attention();
    EXPECT_EQ(attention.kv_heads, 2) << "as many as query heads, and a note says so";
    EXPECT_EQ(attention.key_width, 32) << "from the 64 rows of the key projection";
    EXPECT_EQ(whole->notes.size(), 4u);
}

TEST(Config, RefusesWhatIsOutOfRangeOrContradictsItself) {
    struct Case {
        std::string architecture, key;
        std::function<void(GgufWriter&, const std::string&)> write;
        std::string part;
    };
    const auto number = [](int64_t value) {
        return [value](GgufWriter& writer, const std::string& key) { writer.add(key, static_cast<int32_t>(value)); };
    };
    const auto real = [](float value) {
        return [value](GgufWriter& writer, const std::string& key) { writer.add(key, value); };
    };
    const auto text = [](std::string value) {
        return [value](GgufWriter& writer, const std::string& key) { writer.add(key, value.c_str()); };
    };
    const std::vector<Case> cases = {
        {"llama", "llama.block_count", number(0), "between 1 and 4096"},
        {"llama", "llama.block_count", number(-1), "between 1 and 4096"},
        {"llama", "llama.embedding_length", number(1 << 21), "between 1 and 1048576"},
        {"llama", "llama.attention.head_count", number(3), "3 query heads and 2 KV heads"},
        {"llama", "llama.attention.head_count", number(0), "between 1 and 65536"},
        {"qwen2", "qwen2.attention.layer_norm_rms_epsilon", real(0), "must be a positive number"},
        {"qwen2", "qwen2.attention.layer_norm_rms_epsilon", real(-1e-5f), "must be a positive number"},
        {"qwen2", "qwen2.rope.freq_base", real(NAN), "must be a positive number"},
        {"qwen2", "qwen2.rope.freq_base", real(INFINITY), "must be a positive number"},
        {"qwen2", "qwen2.rope.freq_base", real(1e-40f), "that binary32 holds"},
        {"qwen3", "qwen3.attention.layer_norm_rms_epsilon",
         [](GgufWriter& writer, const std::string& key) { writer.add(key, 1e300); }, "1e+300, but must be a positive"},
        {"qwen3", "qwen3.rope.dimension_count", number(63), "an even number"},
        {"qwen3", "qwen3.rope.dimension_count", number(128), "between 2 and 64"},
        {"qwen3", "qwen3.rope.scaling.type", text("longrope"),
         "rope.scaling.type' is 'longrope', which is not supported"},
        {"qwen3", "qwen3.vocab_size", number(261), "261, but tensor 'token_embd.weight' has 260 rows"},
        {"qwen3", "qwen3.expert_count", number(4), "expert_used_count"},
        {"qwen3moe", "qwen3moe.expert_count", number(0), "a mixture of experts needs it"},
        {"qwen3moe", "qwen3moe.expert_used_count", number(9),
         "is 9, but by metadata key 'qwen3moe.expert_count' there are only 8 experts"},
        {"qwen3moe", "qwen3moe.expert_shared_count", number(1), "shared experts are not supported"},
        {"llama", "llama.context_length", text("long"), "llama.context_length"},
    };
    for (const Case& one : cases) {
        const std::string error = error_of(one.architecture, [&](GgufWriter& writer) { one.write(writer, one.key); });
        EXPECT_TRUE(error.starts_with("toy.gguf: ")) << one.key << ": " << error;
        EXPECT_NE(error.find(one.part), std::string::npos) << one.key << ": " << error;
    }
}

TEST(Config, RefusesAnArchitectureThatHasNoLineAndNamesThoseThatHave) {
    const std::string error =
        error_of("llama", [](GgufWriter& writer) { writer.add("general.architecture", "starfish"); });
    EXPECT_NE(error.find("starfish"), std::string::npos) << error;
    for (const Architecture* known : architectures()) EXPECT_NE(error.find(known->name), std::string::npos) << error;
}

}  // namespace
}  // namespace invar
