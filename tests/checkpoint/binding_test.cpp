// Binding is a bijection, and a file that breaks it is refused by name.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "checkpoint/weight_plan.h"
#include "models/tiny_model.h"

namespace invar {
namespace {

using test::TinyModel;
using test::TinyTensor;

// Nothing is computed here, so the weights are zero.
TinyModel tiny(const std::string& architecture) {
    TinyModel model = test::tiny(architecture);
    model.values = false;
    return model;
}

Result<WeightPlan> plan_of(const std::vector<std::byte>& bytes, const PlanRequest& request = {}) {
    TRY_ASSIGN(const Checkpoint file, Checkpoint::from_bytes(bytes, "tiny.gguf"));
    TRY_ASSIGN(const Architecture* architecture, find_architecture(file));
    TRY_ASSIGN(const ModelConfig config, architecture->read_config(file));
    return make_weight_plan(config, architecture->declare(config, file), file, request);
}

std::string error_of(const TinyModel& model, const PlanRequest& request = {}) {
    const auto plan = plan_of(model.bytes(), request);
    return plan ? std::string("no error") : plan.error().message;
}

TEST(Binding, ConsumesEveryTensorOfEveryArchitectureOnce) {
    for (const std::string& name : test::tiny_architectures()) {
        const TinyModel model = tiny(name);
        const auto plan = plan_of(model.bytes());
        ASSERT_TRUE(plan) << name << ": " << plan.error().message;
        size_t aliases = 0;
        for (const PlanEntry& entry : plan->entries) aliases += entry.alias_of ? 1 : 0;
        EXPECT_EQ(plan->entries.size() - aliases, model.tensors().size()) << name;
        EXPECT_EQ(aliases, model.tied ? 1u : 0u) << name;
    }
}

TEST(Binding, RefusesEachMissingTensorByName) {
    int refused = 0;
    for (const std::string& name : test::tiny_architectures()) {
        TinyModel model = tiny(name);
        const size_t count = model.tensors().size();
        for (size_t dropped = 0; dropped < count; ++dropped) {
            const std::string tensor = model.tensors()[dropped].name;
            if (tensor == "output.weight") continue;  // its absence means tied embeddings
            model.edit_tensors = [dropped](std::vector<TinyTensor>& list) {
                list.erase(list.begin() + static_cast<std::ptrdiff_t>(dropped));
            };
            const std::string error = error_of(model);
            EXPECT_NE(error.find(tensor), std::string::npos) << name << " without " << tensor << ": " << error;
            EXPECT_NE(error.find("missing"), std::string::npos) << error;
            ++refused;
        }
    }
    std::printf("[binding] %d missing tensors, each refused by name\n", refused);
}

TEST(Binding, RefusesATensorThatNothingUses) {
    TinyModel model = tiny("qwen3");
    model.edit_tensors = [](std::vector<TinyTensor>& list) {
        list.push_back({"blk.0.attn_q.bias2", {256}, &format(FormatId::f32)});
    };
    const std::string error = error_of(model);
    EXPECT_NE(error.find("'blk.0.attn_q.bias2'"), std::string::npos) << error;
    EXPECT_NE(error.find("used by no weight"), std::string::npos) << error;
}

TEST(Binding, RefusesEachWrongShapeWithBothShapes) {
    int refused = 0;
    for (const std::string& name : test::tiny_architectures()) {
        TinyModel model = tiny(name);
        const size_t count = model.tensors().size();
        for (size_t changed = 0; changed < count; ++changed) {
            const TinyTensor before = model.tensors()[changed];
            if (before.name == "token_embd.weight" && model.tied) continue;  // defines the vocabulary itself
            model.edit_tensors = [changed](std::vector<TinyTensor>& list) { list[changed].shape[0] += 4; };
            const std::string error = error_of(model);
            const std::string named = before.name == "token_embd.weight" ? "output.weight" : before.name;
            EXPECT_NE(error.find(named), std::string::npos) << error;
            EXPECT_NE(error.find("has shape ["), std::string::npos) << error;
            ++refused;
        }
    }
    std::printf("[binding] %d wrong shapes, each refused with both shapes\n", refused);
}

TEST(Binding, RefusesAnUnknownArchitectureAndListsTheKnownOnes) {
    TinyModel model = tiny("llama");
    model.edit_metadata = [](GgufWriter& writer) { writer.add("general.architecture", "llamma"); };
    std::vector<std::string_view> names;
    for (const Architecture* architecture : architectures()) names.push_back(architecture->name);
    EXPECT_EQ(error_of(model),
              fmt::format("tiny.gguf: architecture 'llamma' is not supported (supported: {})", fmt::join(names, ", ")));
}

TEST(Binding, RefusesAMissingHyperParameterByItsKey) {
    for (const char* key : {"block_count", "context_length", "embedding_length", "attention.head_count",
                            "rope.freq_base", "attention.layer_norm_rms_epsilon"}) {
        // A writer cannot forget a key, so the name is damaged in the bytes.
        std::vector<std::byte> bytes = tiny("qwen3").bytes();
        const std::string full = std::string("qwen3.") + key;
        auto* text = reinterpret_cast<char*>(bytes.data());
        const auto found = std::string_view(text, bytes.size()).find(full);
        ASSERT_NE(found, std::string_view::npos);
        text[found + full.size() - 1] = '_';
        const auto plan = plan_of(bytes);
        ASSERT_FALSE(plan) << key;
        EXPECT_NE(plan.error().message.find(full), std::string::npos) << plan.error().message;
    }
}

TEST(Binding, RefusesExpertsInADenseArchitecture) {
    TinyModel model = tiny("qwen3");
    model.edit_metadata = [](GgufWriter& writer) {
        writer.add("qwen3.expert_count", uint32_t{8});
        writer.add("qwen3.expert_used_count", uint32_t{2});
    };
    EXPECT_NE(error_of(model).find("'qwen3.expert_count' is 8"), std::string::npos) << error_of(model);
}

TEST(Config, TakesAMissingHeadWidthFromTheKeyProjectionAndSaysSo) {
    std::vector<std::byte> bytes = tiny("llama").bytes();
    auto* text = reinterpret_cast<char*>(bytes.data());
    const std::string key = "llama.attention.key_length";
    text[std::string_view(text, bytes.size()).find(key) + key.size() - 1] = '_';
    const auto plan = plan_of(bytes);
    ASSERT_TRUE(plan) << plan.error().message;
    ASSERT_EQ(plan->notes.size(), 2u);  // the second names the key that nobody knows
    EXPECT_NE(plan->notes[1].find("llama.attention.key_lengt_"), std::string::npos) << plan->notes[1];
    EXPECT_NE(plan->notes[0].find("64 taken from the 128 rows of blk.0.attn_k.weight over 2 KV heads"),
              std::string::npos)
        << plan->notes[0];
}

TEST(Config, RefusesAnUnknownRopeScaling) {
    TinyModel model = tiny("llama");
    model.edit_metadata = [](GgufWriter& writer) { writer.add("llama.rope.scaling.type", "longrope"); };
    EXPECT_NE(error_of(model).find("rope.scaling.type' is 'longrope', which is not supported"), std::string::npos)
        << error_of(model);
}

}  // namespace
}  // namespace invar
