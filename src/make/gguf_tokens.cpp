// What all kinds of tokens share. Read gguf_tokens.h first.
#include "make/gguf_tokens.h"

#include <fmt/format.h>

#include "base/json.h"
#include "files/printable.h"

namespace invar {
namespace {

constexpr float kScoreOfPadding = -10000;

}  // namespace

const Json* member(const Json& object, std::string_view key) {
    if (!object.is_object()) return nullptr;
    const auto found = object.find(key);
    return found == object.end() ? nullptr : &*found;
}

std::optional<std::string> text_of(const Json* value) {
    if (value == nullptr || !value->is_string()) return std::nullopt;
    return value->get<std::string>();
}

std::vector<const Json*> steps_of(const Json& tokenizer, std::string_view key, std::string_view list_key) {
    const Json* step = member(tokenizer, key);
    if (step == nullptr || step->is_null()) return {};
    const Json* list = member(*step, list_key);
    if (list == nullptr || !list->is_array()) return {step};
    std::vector<const Json*> steps;
    for (const Json& each : *list) steps.push_back(&each);
    return steps;
}

GgufTokens::GgufTokens(int64_t rows) {
    const auto count = static_cast<size_t>(rows);
    for (size_t id = 0; id < count; ++id) texts.push_back(fmt::format("[PAD{}]", id));
    kinds.resize(count, TokenKind::unused);
    scores.resize(count, kScoreOfPadding);
}

Result<void> GgufTokens::set(const std::string& file, uint64_t id, std::string text, TokenKind kind, float score) {
    if (id >= texts.size()) {
        return fail("{}: token '{}' has the id {}, but the embedding has {} rows", file, printable(text), id,
                    texts.size());
    }
    texts[id] = std::move(text);
    kinds[id] = kind;
    scores[id] = score;
    return {};
}

std::optional<uint32_t> GgufTokens::id_of(std::string_view text) const {
    for (size_t id = 0; id < texts.size(); ++id) {
        if (kinds[id] != TokenKind::unused && texts[id] == text) return static_cast<uint32_t>(id);
    }
    return std::nullopt;
}

void GgufTokens::write(GgufWriter& writer) const {
    const std::vector<std::string_view> text_views(texts.begin(), texts.end());
    const std::vector<std::string_view> merge_views(merges.begin(), merges.end());
    std::vector<int32_t> kind_numbers;
    for (const TokenKind kind : kinds) kind_numbers.push_back(static_cast<int32_t>(kind));
    writer.add("tokenizer.ggml.model", model);
    writer.add("tokenizer.ggml.pre", pre);
    writer.add_array("tokenizer.ggml.tokens", std::span<const std::string_view>(text_views));
    if (model == "llama" || model == "t5") writer.add_array("tokenizer.ggml.scores", std::span<const float>(scores));
    writer.add_array("tokenizer.ggml.token_type", std::span<const int32_t>(kind_numbers));
    if (model == "gpt2") writer.add_array("tokenizer.ggml.merges", std::span<const std::string_view>(merge_views));
    if (add_space_prefix) writer.add("tokenizer.ggml.add_space_prefix", *add_space_prefix);
    if (remove_extra_whitespaces) writer.add("tokenizer.ggml.remove_extra_whitespaces", *remove_extra_whitespaces);
    if (lowercase) writer.add("tokenizer.ggml.normalizer.lowercase", *lowercase);
    if (strip_accents) writer.add("tokenizer.ggml.normalizer.strip_accents", *strip_accents);
    if (!charsmap.empty()) {
        const std::vector<uint8_t> bytes(charsmap.begin(), charsmap.end());
        writer.add_array("tokenizer.ggml.precompiled_charsmap", std::span<const uint8_t>(bytes));
    }
}

}  // namespace invar
