// The table of keys that no supported architecture computes, and the checks of keys against each other and against the
// tensors: see config_json.h.
#include "models/config_json.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "base/json.h"
#include "files/json_document.h"
#include "files/model_directory.h"
#include "files/printable.h"
#include "models/tensor_names.h"

namespace invar {
namespace {

// A key that changes the numbers of other architectures, and the value with which it changes nothing; null: there is no
// such value.
struct NeutralValue {
    std::string_view key;
    Json value;
};

const std::vector<NeutralValue>& neutral_values() {
    static const std::vector<NeutralValue> kValues = {
        // The embedding, the residual stream and the logits
        {"embedding_multiplier", 1},
        {"scale_emb", 1},
        {"embedding_scale", 1},
        {"residual_multiplier", 1},
        {"scale_depth", nullptr},
        {"dim_model_base", nullptr},
        {"logit_scale", 1},
        {"logits_scaling", 1},
        {"lm_head_multiplier", 1},
        {"final_logit_softcapping", nullptr},
        {"use_parallel_residual", false},
        {"use_parallel_block", true},
        {"parallel_attn", false},
        // Attention
        {"attn_logit_softcapping", nullptr},
        {"attention_multiplier", nullptr},
        {"query_pre_attn_scalar", nullptr},
        {"key_multiplier", 1},
        {"clip_qkv", nullptr},
        {"attention_chunk_size", nullptr},
        {"attn_temperature_tuning", false},
        {"is_causal", true},
        {"use_bidirectional_attention", false},
        {"alibi", false},
        {"use_logn_attn", false},
        {"scale_attn_weights", true},
        {"scale_attn_by_inverse_layer_idx", false},
        {"add_cross_attention", false},
        // Rope
        {"partial_rotary_factor", 1},
        {"rotary_pct", 1},
        {"use_dynamic_ntk", false},
        {"rope_interleave", false},
        {"rope_interleaved", false},
        {"no_rope_layers", nullptr},
        {"no_rope_layer_interval", nullptr},
        // The feed-forward part and the mixture
        {"hidden_activation", "silu"},
        {"mlp_bias", false},
        {"swiglu_limit", nullptr},
        {"swiglu_alpha", nullptr},
        {"scoring_func", "softmax"},
        {"topk_method", "greedy"},
        {"n_group", 1},
        {"first_k_dense_replace", 0},
        {"moe_layer_freq", 1},
        {"mlp_layer_types", nullptr},
        {"routed_scaling_factor", 1},
        {"moe_norm_min", 1e-12},
        // Encoders
        {"is_decoder", false},
        {"norm_bias", false},
        {"prenorm", false},
        {"parallel_block", false},
        {"use_rms_norm", false},
        {"causal", true},
        {"rotary_emb_fraction", 1},
        {"rotary_emb_interleaved", false},
        {"rotary_emb_scale_base", nullptr},
        {"rotary_scaling_factor", nullptr},
        {"qkv_proj_bias", false},
        {"mlp_fc1_bias", false},
        {"mlp_fc2_bias", false},
        // Mamba 2
        {"mamba_hidden_act", "silu"},
        {"mamba_proj_bias", false},
    };
    return kValues;
}

// A key of published configs, and the values of it with which the model is the one that is computed here. A list of
// such values counts as one.
struct KnownValues {
    std::string_view key;
    std::vector<Json> values;
    std::string_view architecture = {};  // whose key it is; "": of any
};

const std::vector<KnownValues>& known_values() {
    static const std::vector<KnownValues> kValues = {
        {"position_embedding_type", {"rope", "rope_gptj"}},
        {"normalization_function", {"rmsnorm"}},
        {"use_bias", {false}},
        // Command R7B
        {"use_gated_activation", {true}},
        {"order_of_interleaved_layers", {"local_attn_first"}},
        // MiniMax M2: 1 is a layer with a softmax
        {"attn_type_list", {1}},
        {"qk_norm_type", {"per_layer"}},
        {"use_routing_bias", {true}},
        // Hunyuan
        {"use_cla", {false}},
        {"use_mixed_mlp_moe", {true}},
        // ERNIE 4.5
        {"moe_gate", {"topk", "topk_fused", "top2", "top2_fused"}},
        {"moe_gate_act", {"softmax"}},
        {"moe_use_aux_free", {true}},
        {"router_bias", {true}, "gpt-oss"},
    };
    return kValues;
}

// The classes of a model type, without what follows: "LlamaForCausalLM".
constexpr std::pair<std::string_view, std::string_view> kClasses[] = {
    {"llama", "Llama"},
    {"mistral", "Mistral"},
    {"mixtral", "Mixtral"},
    {"mistral3", "Mistral3"},
    {"qwen2", "Qwen2"},
    {"qwen3", "Qwen3"},
    {"qwen3_moe", "Qwen3Moe"},
    {"deepseek_v2", "DeepseekV2"},
    {"deepseek_v3", "DeepseekV3"},
    {"kimi_k2", "DeepseekV3"},
    {"glm4_moe_lite", "Glm4MoeLite"},
    {"glm4_moe", "Glm4Moe"},
    {"glm4", "Glm4"},
    {"gemma2", "Gemma2"},
    {"gemma3", "Gemma3"},
    {"gemma3_text", "Gemma3"},
    {"gemma4", "Gemma4"},
    {"gemma4_text", "Gemma4"},
    {"qwen2_moe", "Qwen2Moe"},
    {"qwen3_next", "Qwen3Next"},
    {"qwen3_5", "Qwen3_5"},
    {"qwen3_5_text", "Qwen3_5"},
    {"qwen3_5_moe", "Qwen3_5Moe"},
    {"qwen3_5_moe_text", "Qwen3_5Moe"},
    {"gpt_oss", "GptOss"},
    {"ministral3", "Ministral3"},
    {"phi3", "Phi3"},
    {"granite", "Granite"},
    {"granitemoe", "GraniteMoe"},
    {"nemotron_h", "NemotronH"},
    {"granitemoehybrid", "GraniteMoeHybrid"},
    {"smollm3", "SmolLM3"},
    {"seed_oss", "SeedOss"},
    {"olmo2", "Olmo2"},
    {"olmo3", "Olmo3"},
    {"exaone4", "Exaone4"},
    {"ernie4_5", "Ernie4_5"},
    {"ernie4_5_moe", "Ernie4_5_Moe"},
    {"hunyuan_v1_dense", "HunYuanDenseV1"},
    {"hunyuan_v1_moe", "HunYuanMoEV1"},
    {"minimax_m2", "MiniMaxM2"},
    {"cohere2", "Cohere2"},
    {"starcoder2", "Starcoder2"},
    {"gpt2", "GPT2"},
    {"gpt_neox", "GPTNeoX"},
    {"falcon", "Falcon"},
    {"llama4", "Llama4"},
    {"llama4_text", "Llama4"},
    {"lfm2", "Lfm2"},
    {"lfm2_moe", "Lfm2Moe"},
    {"bert", "Bert"},
    {"nomic_bert", "NomicBert"},
    {"modernbert", "ModernBert"},
};

std::string shown(const Json& value) {
    if (value.is_string()) return "'" + printable(value.get_ref<const std::string&>()) + "'";
    if (value.is_structured()) return std::string(kind_of(value));
    return value.dump();
}

// The value of a key; null where it is absent or null.
const Json* stated(const Json& config, std::string_view key) {
    const auto found = config.find(std::string(key));
    return found == config.end() || found->is_null() ? nullptr : &*found;
}

// An architecture, and the keys that it computes.
struct Computed {
    std::string_view architecture;
    std::span<const std::string_view> keys;

    bool has(std::string_view key) const { return std::find(keys.begin(), keys.end(), key) != keys.end(); }
};

bool is_one_of(const Json& value, const std::vector<Json>& values) {
    const auto known = [&](const Json& one) { return std::find(values.begin(), values.end(), one) != values.end(); };
    return value.is_array() ? std::all_of(value.begin(), value.end(), known) : known(value);
}

std::vector<std::string> texts_of(const std::vector<Json>& values) {
    std::vector<std::string> texts;
    for (const Json& value : values) texts.push_back(shown(value));
    return texts;
}

Result<void> check_neutral(const std::string& file, const Json& config, std::string_view inside,
                           const Computed& computed) {
    const std::string_view architecture = computed.architecture;
    for (const auto& [key, neutral] : neutral_values()) {
        const Json* value = stated(config, key);
        if (value == nullptr || *value == neutral || computed.has(key) ||
            computed.has(fmt::format("{}{}", inside, key)))
            continue;
        return fail(ErrorKind::unsupported,
                    "{}: the key '{}{}' is {}, which changes what the model computes, but architecture {} does not "
                    "compute it and it would be left out; such a model is not supported",
                    file, inside, key, shown(*value), architecture);
    }
    for (const KnownValues& known : known_values()) {
        const Json* value = stated(config, known.key);
        const bool of_it = known.architecture.empty() || known.architecture == architecture;
        if (value == nullptr || !of_it || computed.has(known.key) || is_one_of(*value, known.values)) continue;
        return fail(ErrorKind::unsupported,
                    "{}: the key '{}{}' is {}, but architecture {} computes models with {} only; such a model is not "
                    "supported",
                    file, inside, known.key, value->is_array() ? printable(value->dump()) : shown(*value), architecture,
                    fmt::join(texts_of(known.values), " or "));
    }
    // Qwen3 normalises queries and keys, whether a key says so or not.
    for (const std::string_view key : {"use_qk_norm", "qk_layernorm"}) {
        const Json* value = stated(config, key);
        if (value == nullptr || computed.has(key)) continue;
        const bool has = architecture.starts_with("qwen3");
        if (value->is_boolean() && value->get<bool>() == has) continue;
        return fail(ErrorKind::unsupported,
                    "{}: the key '{}' is {}, but architecture {} {} norms of queries and keys, so the key would be "
                    "left out; such a model is not supported",
                    file, key, shown(*value), architecture, has ? "has" : "has no");
    }
    return {};
}

Result<void> check_rope_objects(const std::string& file, const Json& config, const Computed& computed) {
    for (const std::string_view key : {"rope_parameters", "rope_scaling"}) {
        const Json* value = stated(config, key);
        if (value == nullptr) continue;
        if (!value->is_object())
            return fail("{}: the key '{}' is {}, but an object or null is needed", file, key, kind_of(*value));
        for (const auto& [name, inner] : value->items()) {
            const std::string path = fmt::format("{}.{}", key, name);
            if (computed.has(path) && !inner.is_object() && !inner.is_null())
                return fail("{}: the key '{}' is {}, but an object or null is needed", file, path, kind_of(inner));
            if (!inner.is_object()) continue;
            if (computed.has(path)) {
                TRY(check_neutral(file, inner, path + ".", computed));
                continue;
            }
            return fail(ErrorKind::unsupported,
                        "{}: the key '{}.{}' is an object; a rope for each kind of layer is not supported", file, key,
                        printable(name));
        }
        TRY(check_neutral(file, *value, fmt::format("{}.", key), computed));
    }
    return {};
}

// Whether any layer has a bias of the projection of queries.
bool has_query_bias(const Checkpoint& checkpoint) {
    const auto is_bias = [](const TensorInfo& tensor) {
        return std::ranges::any_of(
            std::to_array<std::string_view>({"q_proj.bias", "qkv_proj.bias", "Wqkv.bias", "query_key_value.bias"}),
            [&](std::string_view end) { return tensor.name.ends_with(end); });
    };
    return std::ranges::any_of(checkpoint.tensors(), is_bias);
}

// Checks attention_bias against the biases of the query projection. The code of these model types reads it; those with
// latent attention have no such tensor, so true is refused. Of other types only true without a bias is refused.
Result<void> check_biases(const std::string& file, const Checkpoint& checkpoint, std::string_view model_type) {
    const Json& config = checkpoint.config();
    const Json* flag = stated(config, "attention_bias");
    constexpr std::string_view kFamilies[] = {"llama",   "qwen3",   "deepseek", "kimi",     "glm4",    "gemma",
                                              "gpt_oss", "granite", "smollm3",  "seed_oss", "hunyuan", "cohere2"};
    const bool has_key = std::any_of(std::begin(kFamilies), std::end(kFamilies),
                                     [&](std::string_view family) { return model_type.starts_with(family); });
    if (flag == nullptr) return {};
    if (!has_key) {
        if (*flag != true || has_query_bias(checkpoint)) return {};
        return fail(
            "{}: the key 'attention_bias' is true, but no tensor is a bias of queries; config.json and the weights "
            "must come from one model",
            file);
    }
    if (!flag->is_boolean()) {
        return fail("{}: the key 'attention_bias' is {}, but must be true or false", file, shown(*flag));
    }
    const TensorNames names(checkpoint);
    // Every layer has the norm before attention, so the loop ends with the last layer.
    for (int layer = 0; checkpoint.find(names.name(layer, "attn_norm.weight", "input_layernorm.weight")); ++layer) {
        const std::string output = names.name(layer, "attn_output.weight", "self_attn.o_proj.weight");
        if (checkpoint.find(output) == nullptr && checkpoint.find(output + "_packed") == nullptr) continue;  // none
        const std::string bias = names.name(layer, "attn_q.bias", "self_attn.q_proj.bias");
        const bool there = checkpoint.find(bias) != nullptr;
        if (there == flag->get<bool>()) continue;
        return fail(
            "{}: the key 'attention_bias' is {}, but tensor '{}' is {}; config.json and the weights must come "
            "from one model",
            file, flag->dump(), bias, there ? "there" : "missing");
    }
    return {};
}

// Whether a class is one of a model type's: its name and then "ForCausalLM", "Model" and so on.
bool is_class_of(std::string_view name, std::string_view type) {
    const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
    const auto equal = [&](char a, char b) { return lower(a) == lower(b); };
    if (name.size() < type.size() || !std::equal(type.begin(), type.end(), name.begin(), equal)) return false;
    name.remove_prefix(type.size());
    return name.starts_with("For") || name.starts_with("Model") || name.starts_with("LM") ||
           name.starts_with("TextModel");
}

Result<void> check_classes(const std::string& file, const Json& config) {
    const Json* classes = stated(config, "architectures");
    if (classes == nullptr) return {};
    const Json* model_type = stated(config, "model_type");
    const auto* known = std::find_if(std::begin(kClasses), std::end(kClasses), [&](const auto& one) {
        return model_type != nullptr && *model_type == std::string(one.first);
    });
    if (known == std::end(kClasses)) return {};
    if (!classes->is_array())
        return fail("{}: the key 'architectures' is {}, but a list of texts is needed", file, kind_of(*classes));
    for (const Json& name : *classes) {
        if (name.is_string() && is_class_of(name.get_ref<const std::string&>(), known->second)) continue;
        return fail(
            "{}: the key 'architectures' names {}, but 'model_type' is '{}', whose classes are called "
            "'{}ForCausalLM' and the like; the file contradicts itself",
            file, shown(name), known->first, known->second);
    }
    return {};
}

}  // namespace

Result<void> check_config_json(const Checkpoint& checkpoint, std::string_view architecture,
                               std::span<const std::string_view> computed_keys) {
    const Computed computed{architecture, computed_keys};
    const std::string& file = checkpoint.directory()->config_name();
    const Json& whole = checkpoint.directory()->config();
    const Json& config = checkpoint.config();
    TRY(check_classes(file, whole));
    if (&config != &whole) TRY(check_classes(file, config));
    TRY(check_neutral(file, config, "", computed));
    TRY(check_rope_objects(file, config, computed));
    const Json* model_type = stated(config, "model_type");
    if (model_type == nullptr || !model_type->is_string()) return {};
    return check_biases(file, checkpoint, model_type->get_ref<const std::string&>());
}

}  // namespace invar
