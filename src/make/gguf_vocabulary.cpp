// Which file the tokens are taken from, and what the others say of them. Read gguf_vocabulary.h first.
#include "make/gguf_vocabulary.h"

#include <fmt/format.h>

#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "base/json.h"
#include "make/gguf_tekken.h"
#include "make/gguf_tokens.h"
#include "text/tokenizer/ranked_bytes.h"
#include "text/tokenizer/sentence_piece_file.h"

namespace invar {
namespace {

constexpr uint64_t kMostBytes = 256u << 20;

// The tokens that the post-processor puts before and behind a text; empty where it puts none.
struct Ends {
    std::string before, behind;
};

std::string special_name(const Json& piece) {
    const Json* special = member(piece, "SpecialToken");
    return special == nullptr ? "" : text_of(member(*special, "id")).value_or("");
}

Ends ends_of(const Json* processor) {
    if (processor == nullptr) return {};
    if (const Json* list = member(*processor, "processors"); list != nullptr && list->is_array()) {
        Ends all;
        for (const Json& each : *list) {
            const Ends ends = ends_of(&each);
            if (!ends.before.empty()) all.before = ends.before;
            if (!ends.behind.empty()) all.behind = ends.behind;
        }
        return all;
    }
    const Json* single = member(*processor, "single");
    if (text_of(member(*processor, "type")) != "TemplateProcessing" || single == nullptr || !single->is_array() ||
        single->size() < 2) {
        return {};
    }
    return {special_name(single->front()), special_name(single->back())};
}

// Reads a special token, which is a text or an object with one.
std::optional<std::string> special_text(const Json& config, std::string_view key) {
    const Json* value = member(config, key);
    if (value == nullptr) return std::nullopt;
    return value->is_object() ? text_of(member(*value, "content")) : text_of(value);
}

// Where no other file names a role: tokens that the post-processor adds, or the pieces that have sentencepiece's roles.
struct Roles {
    std::string bos, eos, padding;
};

void add_special_ids(const Json& tokenizer_config, const Json& config, const Roles& roles, const GgufTokens& tokens,
                     GgufWriter& writer) {
    const std::tuple<std::string_view, std::string_view, std::string_view> specials[] = {
        {"bos", "bos", roles.bos},
        {"eos", "eos", roles.eos},
        {"unk", "unknown", ""},
        {"pad", "padding", roles.padding}};
    for (const auto& [name, key, role] : specials) {
        std::optional<uint32_t> id;
        if (const auto text = special_text(tokenizer_config, fmt::format("{}_token", name))) id = tokens.id_of(*text);
        if (!id) {
            const Json* number = member(config, fmt::format("{}_token_id", name));
            const bool usable = number != nullptr && number->is_number_unsigned();
            if (usable && number->get<uint64_t>() < tokens.texts.size()) id = number->get<uint32_t>();
        }
        if (!id && !role.empty()) id = tokens.id_of(role);
        if (id) writer.add(fmt::format("tokenizer.ggml.{}_token_id", key), *id);
    }
}

// Takes chat_template.jinja, then chat_template.json, then tokenizer_config.json, whose template may be one of several.
Result<std::optional<std::string>> chat_template(const ModelDirectory& directory, const Json& tokenizer_config) {
    if (directory.has("chat_template.jinja")) {
        TRY_ASSIGN(std::string text, directory.read("chat_template.jinja", kMostBytes));
        return std::optional<std::string>(std::move(text));
    }
    const auto from = [](const Json& object) -> std::optional<std::string> {
        const Json* value = member(object, "chat_template");
        if (value == nullptr || !value->is_array()) return text_of(value);
        for (const Json& each : *value) {
            if (text_of(member(each, "name")) == "default") return text_of(member(each, "template"));
        }
        return std::nullopt;
    };
    if (directory.has("chat_template.json")) {
        TRY_ASSIGN(const Json object, directory.read_json("chat_template.json", kMostBytes));
        if (auto text = from(object)) return text;
    }
    return from(tokenizer_config);
}

enum class Kind : uint8_t { byte_level, characters, other };

Kind kind_of_tokenizer(const Json& tokenizer) {
    const Json* model = member(tokenizer, "model");
    if (model == nullptr || text_of(member(*model, "type")) != "BPE") return Kind::other;
    const Json* fallback = member(*model, "byte_fallback");
    const bool falls_back = fallback != nullptr && fallback->is_boolean() && fallback->get<bool>();
    return falls_back ? Kind::characters : Kind::byte_level;
}

Result<Json> read_optional(const ModelDirectory& directory, std::string_view file) {
    if (!directory.has(file)) return Json::object();
    return directory.read_json(file, kMostBytes);
}

// From tokenizer.model, with the tokens that other files add; `roles` are its own.
Result<GgufTokens> tokens_of_model(const ModelDirectory& directory, const std::string& bytes, const Json& config,
                                   int64_t rows, Roles& roles) {
    const std::string file = directory.name_of("tokenizer.model");
    TRY_ASSIGN(GgufTokens tokens, sentence_piece_tokens(bytes, file, rows));
    TRY_ASSIGN(const SentencePieceFile model, read_sentence_piece_file(bytes));
    roles = {model.bos, model.eos, model.padding};
    TRY_ASSIGN(const Json added, read_optional(directory, "added_tokens.json"));
    TRY(add_tokens_json(added, directory.name_of("added_tokens.json"), tokens));
    TRY(add_tokens_decoder(config, directory.name_of("tokenizer_config.json"), tokens));
    return tokens;
}

// As the converter: byte-level BPE from tokenizer.json; else tokenizer.model, where there is one, before
// tokenizer.json.
Result<GgufTokens> read_tokens(const ModelDirectory& directory, const Json& tokenizer, const Json& config, int64_t rows,
                               Roles& roles) {
    const Kind kind = kind_of_tokenizer(tokenizer);
    const std::string file = directory.name_of("tokenizer.json");
    if (kind == Kind::byte_level) return byte_level_tokens(tokenizer, file, rows);
    if (directory.has("tokenizer.model")) {
        TRY_ASSIGN(const std::string bytes, directory.read("tokenizer.model", kMostBytes));
        if (!looks_like_tiktoken(bytes)) return tokens_of_model(directory, bytes, config, rows, roles);
    }
    if (kind == Kind::characters) return character_tokens(tokenizer, file, rows);
    if (!directory.has("tokenizer.json")) {
        return fail(
            "{}: has no tokenizer.json, no tekken.json and no tokenizer.model of SentencePiece, from one of which the "
            "vocabulary of a GGUF file is made",
            directory.name());
    }
    return fail("{}: is not a BPE tokenizer, and others cannot be written into a GGUF file", file);
}

}  // namespace

Result<void> add_vocabulary(const ModelDirectory& directory, int64_t rows, GgufWriter& writer) {
    if (!directory.has("tokenizer.json") && directory.has("tekken.json")) {
        TRY(add_tekken_vocabulary(directory, rows, writer));
        TRY_ASSIGN(const std::optional<std::string> found, chat_template(directory, Json::object()));
        if (found) writer.add("tokenizer.chat_template", *found);
        return {};
    }
    TRY_ASSIGN(const Json tokenizer, read_optional(directory, "tokenizer.json"));
    TRY_ASSIGN(const Json config, read_optional(directory, "tokenizer_config.json"));
    const Ends ends = ends_of(member(tokenizer, "post_processor"));
    Roles roles{ends.before, ends.behind, ""};
    TRY_ASSIGN(GgufTokens tokens, read_tokens(directory, tokenizer, config, rows, roles));
    const auto flag = [&](std::string_view key) -> std::optional<bool> {
        const Json* value = member(config, key);
        return value == nullptr || !value->is_boolean() ? std::nullopt : std::optional(value->get<bool>());
    };
    if (const auto prefix = flag("add_prefix_space"); prefix && tokens.model == "llama") {
        tokens.add_space_prefix = prefix;
    }
    tokens.write(writer);
    const Json* text = member(directory.config(), "text_config");
    add_special_ids(config, text != nullptr ? *text : directory.config(), roles, tokens, writer);
    // sentencepiece's file says nothing of it, and its models have a BOS unless tokenizer_config.json says no.
    const bool model_alone = !directory.has("tokenizer.json");
    const bool bos_by_default = model_alone && flag("add_bos_token").value_or(tokens.id_of(roles.bos).has_value());
    const bool adds_bos = !ends.before.empty() || bos_by_default || flag("add_bos_token").value_or(false);
    writer.add("tokenizer.ggml.add_bos_token", adds_bos);
    if (!ends.behind.empty() || flag("add_eos_token").value_or(false)) writer.add("tokenizer.ggml.add_eos_token", true);
    TRY_ASSIGN(const std::optional<std::string> found, chat_template(directory, config));
    if (found) writer.add("tokenizer.chat_template", *found);
    return {};
}

}  // namespace invar
