// Binds tiny gpt-oss, Phi-3 and Granite models as GGUF files: every tensor is used once, and each that is missing or
// has another shape is refused by name. gpt-oss wants every bias, because a model without one of them would compute
// something else.
#include <gtest/gtest.h>

#include "checkpoint/weight_plan.h"
#include "models/tiny_model.h"

namespace invar {
namespace {

using test::TinyModel;
using test::TinyTensor;

// The tensors of a tiny llama, made into those of the architecture.
std::vector<TinyTensor> tensors_of(const std::string& architecture, std::vector<TinyTensor> list) {
    const Format* f32 = &format(FormatId::f32);
    std::vector<TinyTensor> made;
    for (TinyTensor& tensor : list) {
        const std::string block = tensor.name.substr(0, tensor.name.rfind('.', tensor.name.rfind('.') - 1) + 1);
        const std::string name = tensor.name.substr(block.size());
        if (architecture == "gpt-oss") {
            if (name == "ffn_norm.weight") tensor.name = block + "post_attention_norm.weight";
            if (name == "attn_q.weight") made.push_back({block + "attn_sinks.weight", {4}, f32});
            const bool experts = name.find("_exps") != std::string::npos;
            if (name.starts_with("attn_") && name != "attn_norm.weight")
                made.push_back({block + name.substr(0, name.rfind('.')) + ".bias", {tensor.shape[0]}, f32});
            if (name == "ffn_gate_inp.weight") made.push_back({block + "ffn_gate_inp.bias", {tensor.shape[0]}, f32});
            if (experts) {
                made.push_back(
                    {block + name.substr(0, name.rfind('.')) + ".bias", {tensor.shape[0], tensor.shape[1]}, f32});
            }
        }
        if (architecture == "phi3") {
            if (name == "attn_q.weight") {
                tensor.name = block + "attn_qkv.weight";
                tensor.shape[0] *= 2;  // four heads of queries, two of keys and two of values
            }
            if (name == "attn_k.weight" || name == "attn_v.weight" || name == "ffn_gate.weight") continue;
            if (name == "ffn_up.weight") tensor.shape[0] *= 2;
        }
        made.push_back(tensor);
    }
    return made;
}

TinyModel tiny(const std::string& architecture) {
    TinyModel model = test::tiny(architecture);
    model.values = false;
    model.width = model.ffn = model.vocabulary = 64;
    model.head_width = 16;
    model.expert_width = 32;
    if (architecture == "gpt-oss" || architecture == "granitemoe") {
        model.experts = 8;
        model.experts_used = 2;
    }
    model.edit_metadata = [architecture](GgufWriter& writer) {
        if (architecture.starts_with("granite")) {
            for (const char* key : {".attention.scale", ".embedding_scale", ".residual_scale", ".logit_scale"})
                writer.add(architecture + key, 0.5f);
        }
        if (architecture != "gpt-oss") return;
        writer.add("gpt-oss.attention.sliding_window", uint32_t{8});
        writer.add("gpt-oss.rope.scaling.type", "yarn");
        writer.add("gpt-oss.rope.scaling.factor", 32.0f);
        writer.add("gpt-oss.rope.scaling.original_context_length", uint32_t{16});
    };
    return model;
}

Result<WeightPlan> plan_of(TinyModel model, const std::function<void(std::vector<TinyTensor>&)>& edit) {
    model.edit_tensors = [&](std::vector<TinyTensor>& list) {
        list = tensors_of(model.architecture, std::move(list));
        edit(list);
    };
    const std::vector<std::byte> bytes = model.bytes();
    TRY_ASSIGN(const Checkpoint file, Checkpoint::from_bytes(bytes, "tiny.gguf"));
    TRY_ASSIGN(const Architecture* architecture, find_architecture(file));
    TRY_ASSIGN(const ModelConfig config, architecture->read_config(file));
    return make_weight_plan(config, architecture->declare(config, file), file, {});
}

// By what name a tensor is missed: one that holds several weights by that of the first.
std::string missed(const TinyTensor& tensor, const std::string& architecture) {
    std::string name = tensor.name;
    if (architecture != "phi3") return name;
    if (name.ends_with("attn_qkv.weight")) return name.replace(name.size() - 10, 10, "q.weight");
    return name;
}

constexpr const char* kArchitectures[] = {"gpt-oss", "mistral3", "phi3", "granite", "granitemoe"};

TEST(ScaledFamiliesBinding, RefusesEachMissingTensorByName) {
    int refused = 0;
    for (const std::string name : kArchitectures) {
        const TinyModel model = tiny(name);
        const auto whole = plan_of(model, [](std::vector<TinyTensor>&) {});
        ASSERT_TRUE(whole) << name << ": " << whole.error().message;
        for (const TinyTensor& tensor : tensors_of(name, model.tensors())) {
            if (tensor.name == "output.weight") continue;  // its absence means tied embeddings
            const auto plan = plan_of(model, [&](std::vector<TinyTensor>& list) {
                std::erase_if(list, [&](const TinyTensor& each) { return each.name == tensor.name; });
            });
            const std::string error = plan ? "no error" : plan.error().message;
            EXPECT_NE(error.find(missed(tensor, name)), std::string::npos)
                << name << " without " << tensor.name << ": " << error;
            EXPECT_NE(error.find("missing"), std::string::npos) << error;
            ++refused;
        }
    }
    EXPECT_EQ(refused, 2 + 2 * 19 + 2 + 2 * 9 + 2 + 2 * 6 + 2 + 2 * 9 + 2 + 2 * 10);
}

TEST(ScaledFamiliesBinding, RefusesEachWrongShapeWithBothShapes) {
    int refused = 0;
    for (const std::string name : kArchitectures) {
        const TinyModel model = tiny(name);
        for (const TinyTensor& tensor : tensors_of(name, model.tensors())) {
            const auto plan = plan_of(model, [&](std::vector<TinyTensor>& list) {
                for (TinyTensor& each : list) {
                    if (each.name == tensor.name) each.shape[0] += 4;
                }
            });
            const std::string error = plan ? "no error" : plan.error().message;
            const std::string named = tensor.name == "token_embd.weight" ? "output.weight" : tensor.name;
            EXPECT_NE(error.find(named), std::string::npos) << error;
            const bool fused =
                named.ends_with("attn_qkv.weight") || (name == "phi3" && named.ends_with("ffn_up.weight"));
            EXPECT_NE(error.find(fused ? "rows are used by weights" : "has shape ["), std::string::npos) << error;
            ++refused;
        }
    }
    EXPECT_GT(refused, 100);
}

}  // namespace
}  // namespace invar
