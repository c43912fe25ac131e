// Completes config.json, and builds generation_config.json and the tokenizer's files: see synth_documents.h.
#include "make/synth_documents.h"

#include <fmt/format.h>

#include <string_view>
#include <vector>

#include "base/json.h"

namespace invar {
namespace {

constexpr const char* kBegin = "<|begin|>";
constexpr const char* kEnd = "<|end|>";

bool is_qwen(const ShapeDocument& shape) { return shape.model_type().starts_with("qwen"); }

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

Json synth_config(const ShapeDocument& shape, const std::string& dtype, const Json& quantization) {
    ShapeDocument ours = shape;
    ours.text()["bos_token_id"] = shape.vocabulary() - 2;
    ours.text()["eos_token_id"] = shape.vocabulary() - 1;
    Json config = std::move(ours.config);
    config["torch_dtype"] = dtype;
    config["transformers_version"] = "4.55.0";
    if (!quantization.is_null()) config["quantization_config"] = quantization;
    return config;
}

Json synth_generation_config(const ShapeDocument& shape) {
    return {{"bos_token_id", shape.vocabulary() - 2},
            {"do_sample", true},
            {"eos_token_id", {shape.vocabulary() - 1}},
            {"temperature", 0.7},
            {"transformers_version", "4.55.0"}};
}

std::string synth_chat_template() {
    return fmt::format(
        "{{% for message in messages %}}{{{{ message.role }}}}: {{{{ message.content }}}}{}\n{{% endfor %}}assistant:",
        kEnd);
}

std::string synth_tokenizer(const ShapeDocument& shape) {
    const int64_t size = shape.vocabulary();
    std::vector<std::string> tokens = byte_characters();
    Json merges = Json::array();
    // Merges pairs of frequent letters, alone and behind a space: one level of merging.
    const std::string space = tokens[static_cast<size_t>(' ')];
    const std::string letters = "etaoinshrdlu";
    const auto merge = [&](const std::string& left, const std::string& right) {
        if (static_cast<int64_t>(tokens.size()) >= size - 2) return;
        tokens.push_back(left + right);
        merges.push_back(Json::array({left, right}));
    };
    for (const char first : letters) merge(space, std::string(1, first));
    for (const char first : letters) {
        for (const char second : letters) merge(std::string(1, first), std::string(1, second));
    }
    // These names are reached by no text.
    while (static_cast<int64_t>(tokens.size()) < size - 2) {
        tokens.push_back(fmt::format("<synthetic {}>", tokens.size()));
    }
    tokens.emplace_back(kBegin);
    tokens.emplace_back(kEnd);
    Json vocabulary = Json::object();
    auto& entries = vocabulary.get_ref<Json::object_t&>();
    for (size_t id = 0; id < tokens.size(); ++id) entries.emplace_back(tokens[id], id);
    const bool qwen = is_qwen(shape);
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
        {"added_tokens", {added_token(size - 2, kBegin), added_token(size - 1, kEnd)}},
        {"normalizer", qwen ? Json{{"type", "NFC"}} : Json(nullptr)},
        {"pre_tokenizer", pre_tokenizer(qwen)},
        {"post_processor",
         {{"type", "ByteLevel"}, {"add_prefix_space", true}, {"trim_offsets", false}, {"use_regex", true}}},
        {"decoder", {{"type", "ByteLevel"}, {"add_prefix_space", true}, {"trim_offsets", true}, {"use_regex", true}}}};
    tokenizer["model"] = std::move(model);
    return tokenizer.dump();
}

Json synth_tokenizer_config(const ShapeDocument& shape) {
    Json config = {{"add_bos_token", false},
                   {"bos_token", kBegin},
                   {"clean_up_tokenization_spaces", false},
                   {"eos_token", kEnd},
                   {"model_max_length", shape.context()},
                   {"tokenizer_class", "PreTrainedTokenizerFast"}};
    if (!shape.config.contains("text_config")) config["chat_template"] = synth_chat_template();
    return config;
}

}  // namespace invar
