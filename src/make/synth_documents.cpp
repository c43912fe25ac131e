// Builds config.json, generation_config.json and the tokenizer's files for each family of models: see
// synth_documents.h.
#include "make/synth_documents.h"

#include <fmt/format.h>

#include <string_view>
#include <vector>

#include "base/json.h"
#include "make/synth_gemma4.h"

namespace invar {
namespace {

constexpr const char* kBegin = "<|begin|>";
constexpr const char* kEnd = "<|end|>";

struct Family {
    std::string_view name;  // SynthShape::family
    const char* architecture;
    bool qwen;
};
constexpr Family kFamilies[] = {
    {"llama", "LlamaForCausalLM", false},       {"mistral", "MistralForCausalLM", false},
    {"mixtral", "MixtralForCausalLM", false},   {"mistral3", "Mistral3ForConditionalGeneration", false},
    {"qwen2", "Qwen2ForCausalLM", true},        {"qwen3", "Qwen3ForCausalLM", true},
    {"qwen3_moe", "Qwen3MoeForCausalLM", true}, {"gemma4_text", "Gemma4ForCausalLM", false}};

const Family& family_of(const SynthShape& shape) {
    for (const Family& family : kFamilies) {
        if (family.name == shape.family) return family;
    }
    return kFamilies[0];
}

// The keys of a text model, in the spelling of the published files of these families.
Json text_config(const SynthShape& shape, int layers) {
    if (shape.is_gemma4()) return gemma4_text_config(shape, layers);
    const bool qwen = family_of(shape).qwen;
    Json config = {{"attention_dropout", 0.0},
                   {"bos_token_id", shape.vocabulary - 2},
                   {"eos_token_id", shape.vocabulary - 1},
                   {"head_dim", shape.head_width},
                   {"hidden_act", "silu"},
                   {"hidden_size", shape.width},
                   {"initializer_range", 0.02},
                   {"intermediate_size", shape.ffn_width},
                   {"max_position_embeddings", shape.context},
                   {"model_type", shape.family == "mistral3" ? "mistral" : std::string(shape.family)},
                   {"num_attention_heads", shape.heads},
                   {"num_hidden_layers", layers},
                   {"num_key_value_heads", shape.kv_heads},
                   {"rms_norm_eps", qwen ? 1e-6 : 1e-5},
                   {"rope_scaling", nullptr},
                   {"rope_theta", shape.rope_base},
                   {"sliding_window", nullptr},
                   {"use_cache", true},
                   {"vocab_size", shape.vocabulary}};
    if (shape.family == "qwen2") config.erase("head_dim");
    if (shape.family == "llama") {
        config.erase("sliding_window");
        config["attention_bias"] = false;
        config["mlp_bias"] = false;
    }
    if (qwen) {
        config["use_sliding_window"] = false;
        config["max_window_layers"] = layers;
    }
    if (shape.family.starts_with("qwen3")) config["attention_bias"] = false;
    if (shape.family == "mixtral") {
        config["num_local_experts"] = shape.experts;
        config["num_experts_per_tok"] = shape.experts_per_token;
    } else if (shape.experts > 0) {
        config["num_experts"] = shape.experts;
        config["num_experts_per_tok"] = shape.experts_per_token;
        config["moe_intermediate_size"] = shape.expert_width;
        config["decoder_sparse_step"] = 1;
        config["mlp_only_layers"] = Json::array();
        config["norm_topk_prob"] = true;
        config["output_router_logits"] = false;
        config["router_aux_loss_coef"] = 0.001;
    }
    if (shape.name.starts_with("qwen3-coder")) {  // keys of a shared expert that it does not have
        config["qkv_bias"] = false;
        config["router_aux_loss_coef"] = 0.0;
        config["shared_expert_intermediate_size"] = 0;
        config["use_qk_norm"] = true;
    }
    config["tie_word_embeddings"] = shape.tied;
    return config;
}

// Of Mistral-Small's published configuration.
Json vision_config(int layers) {
    return {{"attention_dropout", 0.0},    {"head_dim", 64},
            {"hidden_act", "silu"},        {"hidden_size", 1024},
            {"image_size", 1540},          {"initializer_range", 0.02},
            {"intermediate_size", 4096},   {"model_type", "pixtral"},
            {"num_attention_heads", 16},   {"num_channels", 3},
            {"num_hidden_layers", layers}, {"patch_size", 14},
            {"rope_theta", 10000.0}};
}

std::string utf8_of(uint32_t code) {
    if (code < 0x80) return std::string(1, static_cast<char>(code));
    return {static_cast<char>(0xC0 | code >> 6), static_cast<char>(0x80 | (code & 0x3F))};
}

// The expression that cuts texts before merging, as published with models of the family.
Json pre_tokenizer(bool qwen) {
    const std::string digits = qwen ? "\\p{N}" : "\\p{N}{1,3}";
    const std::string pattern = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" + digits +
                                "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
    return {{"type", "Sequence"},
            {"pretokenizers",
             {{{"type", "Split"}, {"pattern", {{"Regex", pattern}}}, {"behavior", "Isolated"}, {"invert", false}},
              {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", false}, {"use_regex", false}}}}};
}

Json added_token(int64_t id, const char* content) {
    return {{"id", id},        {"content", content},  {"single_word", false}, {"lstrip", false},
            {"rstrip", false}, {"normalized", false}, {"special", true}};
}

}  // namespace

std::vector<std::string> byte_characters() {
    std::vector<std::string> characters;
    uint32_t unprintable = 256;
    for (uint32_t byte = 0; byte < 256; ++byte) {
        const bool printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
        characters.push_back(utf8_of(printable ? byte : unprintable++));
    }
    return characters;
}

Json synth_config(const SynthShape& shape, int layers, const std::string& dtype, const Json& quantization) {
    Json config = {{"architectures", {family_of(shape).architecture}}};
    if (shape.family == "mistral3") {
        config["image_token_index"] = 10;
        config["model_type"] = "mistral3";
        config["multimodal_projector_bias"] = false;
        config["projector_hidden_act"] = "gelu";
        config["spatial_merge_size"] = 2;
        config["text_config"] = text_config(shape, layers);
        config["vision_config"] = vision_config(synth_vision_layers(layers));
        config["vision_feature_layer"] = -1;
    } else {
        config.update(text_config(shape, layers));
    }
    config["torch_dtype"] = dtype;
    config["transformers_version"] = "4.55.0";
    if (!quantization.is_null()) config["quantization_config"] = quantization;
    return config;
}

Json synth_generation_config(const SynthShape& shape) {
    return {{"bos_token_id", shape.vocabulary - 2},
            {"do_sample", true},
            {"eos_token_id", {shape.vocabulary - 1}},
            {"temperature", 0.7},
            {"transformers_version", "4.55.0"}};
}

std::string synth_chat_template() {
    return fmt::format(
        "{{% for message in messages %}}{{{{ message.role }}}}: {{{{ message.content }}}}{}\n{{% endfor %}}assistant:",
        kEnd);
}

std::string synth_tokenizer(const SynthShape& shape) {
    std::vector<std::string> tokens = byte_characters();
    Json merges = Json::array();
    // Merges pairs of frequent letters, alone and behind a space: one level of merging.
    const std::string space = tokens[static_cast<size_t>(' ')];
    const std::string letters = "etaoinshrdlu";
    const auto merge = [&](const std::string& left, const std::string& right) {
        if (static_cast<int64_t>(tokens.size()) >= shape.vocabulary - 2) return;
        tokens.push_back(left + right);
        merges.push_back(Json::array({left, right}));
    };
    for (const char first : letters) merge(space, std::string(1, first));
    for (const char first : letters) {
        for (const char second : letters) merge(std::string(1, first), std::string(1, second));
    }
    // These names are reached by no text.
    while (static_cast<int64_t>(tokens.size()) < shape.vocabulary - 2) {
        tokens.push_back(fmt::format("<synthetic {}>", tokens.size()));
    }
    tokens.emplace_back(kBegin);
    tokens.emplace_back(kEnd);
    Json vocabulary = Json::object();
    auto& entries = vocabulary.get_ref<Json::object_t&>();
    for (size_t id = 0; id < tokens.size(); ++id) entries.emplace_back(tokens[id], id);
    const bool qwen = family_of(shape).qwen;
    Json model = {{"type", "BPE"},
                  {"dropout", nullptr},
                  {"unk_token", nullptr},
                  {"continuing_subword_prefix", nullptr},
                  {"end_of_word_suffix", nullptr},
                  {"fuse_unk", false},
                  {"byte_fallback", false},
                  {"ignore_merges", !qwen}};
    model["vocab"] = std::move(vocabulary);
    model["merges"] = std::move(merges);
    Json tokenizer = {
        {"version", "1.0"},
        {"truncation", nullptr},
        {"padding", nullptr},
        {"added_tokens", {added_token(shape.vocabulary - 2, kBegin), added_token(shape.vocabulary - 1, kEnd)}},
        {"normalizer", qwen ? Json{{"type", "NFC"}} : Json(nullptr)},
        {"pre_tokenizer", pre_tokenizer(qwen)},
        {"post_processor",
         {{"type", "ByteLevel"}, {"add_prefix_space", true}, {"trim_offsets", false}, {"use_regex", true}}},
        {"decoder", {{"type", "ByteLevel"}, {"add_prefix_space", true}, {"trim_offsets", true}, {"use_regex", true}}}};
    tokenizer["model"] = std::move(model);
    return tokenizer.dump();
}

Json synth_tokenizer_config(const SynthShape& shape) {
    Json config = {{"add_bos_token", false},
                   {"bos_token", kBegin},
                   {"clean_up_tokenization_spaces", false},
                   {"eos_token", kEnd},
                   {"model_max_length", shape.context},
                   {"tokenizer_class", "PreTrainedTokenizerFast"}};
    if (shape.family != "mistral3") config["chat_template"] = synth_chat_template();
    return config;
}

}  // namespace invar
