#include "make/gguf_vocabulary.h"

#include <fmt/format.h>

#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "files/json_document.h"
#include "files/printable.h"
#include "make/gguf_tekken.h"

namespace invar {
namespace {

constexpr uint64_t kMostBytes = 256u << 20;
enum TokenKind : int32_t { kNormal = 1, kControl = 3, kUserDefined = 4, kUnused = 5 };

// How texts are cut, by the expression that tokenizer.json states: the same steps under GGUF's name for them.
struct NamedPattern {
    std::string_view name, expression;
};
constexpr NamedPattern kPatterns[] = {
    {"llama-bpe", R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*)"
                  R"(|\s*[\r\n]+|\s+(?!\S)|\s+)"},
    {"qwen2", R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*)"
              R"(|\s*[\r\n]+|\s+(?!\S)|\s+)"},
    {"tekken", kTekkenExpression},
};

// A member, or null where there is none of this kind.
const Json* member(const Json& object, std::string_view key) {
    if (!object.is_object()) return nullptr;
    const auto found = object.find(key);
    return found == object.end() ? nullptr : &*found;
}
std::optional<std::string> text_of(const Json* value) {
    if (value == nullptr || !value->is_string()) return std::nullopt;
    return value->get<std::string>();
}

struct Token {
    std::string text;
    int32_t kind = kUnused;
};

class Vocabulary {
  public:
    Vocabulary(const Json& tokenizer, std::string file, int64_t rows) : tokenizer_(tokenizer), file_(std::move(file)) {
        tokens_.resize(static_cast<size_t>(rows));
    }

    Result<void> read() {
        const Json* model = member(tokenizer_, "model");
        const Json* vocabulary = model == nullptr ? nullptr : member(*model, "vocab");
        const auto kind = model == nullptr ? std::nullopt : text_of(member(*model, "type"));
        const Json* fallback = model == nullptr ? nullptr : member(*model, "byte_fallback");
        const bool falls_back = fallback != nullptr && fallback->is_boolean() && fallback->get<bool>();
        if (kind != "BPE" || falls_back || vocabulary == nullptr || !vocabulary->is_object()) {
            return fail("{}: is not a byte-level BPE tokenizer, and others cannot be written into a GGUF file yet",
                        file_);
        }
        for (const auto& [text, id] : vocabulary->items()) TRY(add(id, text, kNormal));
        const Json* added = member(tokenizer_, "added_tokens");
        if (added != nullptr && added->is_array()) {
            for (const Json& token : *added) TRY(add_added(token));
        }
        for (size_t id = 0; id < tokens_.size(); ++id) {
            if (tokens_[id].kind == kUnused) tokens_[id].text = fmt::format("[PAD{}]", id);
        }
        return {};
    }

    Result<void> write(GgufWriter& writer) const {
        TRY_ASSIGN(const std::string_view pre, pre_tokenizer());
        TRY_ASSIGN(const std::vector<std::string> merges, merges_of(tokenizer_["model"]));
        std::vector<std::string_view> texts;
        std::vector<int32_t> kinds;
        for (const Token& token : tokens_) {
            texts.push_back(token.text);
            kinds.push_back(token.kind);
        }
        const std::vector<std::string_view> merge_views(merges.begin(), merges.end());
        writer.add("tokenizer.ggml.model", "gpt2");
        writer.add("tokenizer.ggml.pre", pre);
        writer.add_array("tokenizer.ggml.tokens", std::span<const std::string_view>(texts));
        writer.add_array("tokenizer.ggml.token_type", std::span<const int32_t>(kinds));
        writer.add_array("tokenizer.ggml.merges", std::span<const std::string_view>(merge_views));
        return {};
    }

    std::optional<uint32_t> id_of(std::string_view text) const {
        for (size_t id = 0; id < tokens_.size(); ++id) {
            if (tokens_[id].kind != kUnused && tokens_[id].text == text) return static_cast<uint32_t>(id);
        }
        return std::nullopt;
    }
    size_t size() const { return tokens_.size(); }

  private:
    Result<void> add(const Json& id, const std::string& text, int32_t kind) {
        if (!id.is_number_unsigned() || id.get<uint64_t>() >= tokens_.size()) {
            return fail("{}: token '{}' has the id {}, but the embedding has {} rows", file_, printable(text),
                        id.is_number() ? id.dump() : std::string(kind_of(id)), tokens_.size());
        }
        tokens_[id.get<size_t>()] = {text, kind};
        return {};
    }
    Result<void> add_added(const Json& token) {
        const auto text = text_of(member(token, "content"));
        const Json* id = member(token, "id");
        const Json* special = member(token, "special");
        if (!text || id == nullptr) return fail("{}: an added token has no content or no id", file_);
        const bool control = special != nullptr && special->is_boolean() && special->get<bool>();
        return add(*id, *text, control ? kControl : kUserDefined);
    }

    // The one expression of a Split, or gpt-2's where ByteLevel cuts by itself.
    Result<std::string_view> pre_tokenizer() const {
        const Json* pre = member(tokenizer_, "pre_tokenizer");
        std::vector<const Json*> steps;
        const Json* list = pre == nullptr ? nullptr : member(*pre, "pretokenizers");
        if (list != nullptr && list->is_array()) {
            for (const Json& step : *list) steps.push_back(&step);
        } else if (pre != nullptr) {
            steps.push_back(pre);
        }
        std::string found;
        size_t splits = 0;
        for (const Json* step : steps) {
            const auto kind = text_of(member(*step, "type"));
            const Json* pattern = member(*step, "pattern");
            const Json* own = member(*step, "use_regex");
            if (kind == "Split" && pattern != nullptr) {
                found = text_of(member(*pattern, "Regex")).value_or("");
                ++splits;
            } else if (kind != "ByteLevel") {
                return fail("{}: pre-tokenizer '{}' has no name in GGUF", file_, printable(kind.value_or("")));
            } else if (own != nullptr && own->is_boolean() && own->get<bool>() && splits == 0) {
                return std::string_view("gpt-2");
            }
        }
        for (const NamedPattern& pattern : kPatterns) {
            if (splits == 1 && pattern.expression == found) return pattern.name;
        }
        return fail(
            "{}: cuts texts by an expression that has no name in GGUF ('{}'); there are names for the ones of "
            "gpt-2, Llama 3, Qwen 2 and Tekken",
            file_, printable(found, 160));
    }

    // "a b" or ["a", "b"]: the second can hold a blank, which GGUF writes as byte-level BPE's character for it.
    Result<std::vector<std::string>> merges_of(const Json& model) const {
        std::vector<std::string> merges;
        const Json* list = member(model, "merges");
        if (list == nullptr || !list->is_array()) return fail("{}: has no list of merges", file_);
        for (const Json& merge : *list) {
            if (merge.is_string()) {
                merges.push_back(merge.get<std::string>());
                continue;
            }
            const bool pair = merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string();
            if (!pair) return fail("{}: merge {} is no pair of texts", file_, merges.size());
            std::string parts[2] = {merge[0].get<std::string>(), merge[1].get<std::string>()};
            for (std::string& part : parts) {
                for (size_t at = part.find(' '); at != std::string::npos; at = part.find(' ', at)) {
                    part.replace(at, 1, "\u0120");
                }
            }
            merges.push_back(parts[0] + " " + parts[1]);
        }
        return merges;
    }

    const Json& tokenizer_;
    std::string file_;
    std::vector<Token> tokens_;
};

// Whether the post-processor puts a token before or behind a text.
struct Ends {
    bool before = false, behind = false;
};
Ends ends_of(const Json* processor) {
    if (processor == nullptr) return {};
    if (const Json* list = member(*processor, "processors"); list != nullptr && list->is_array()) {
        Ends all;
        for (const Json& each : *list) {
            const Ends ends = ends_of(&each);
            all = {all.before || ends.before, all.behind || ends.behind};
        }
        return all;
    }
    const Json* single = member(*processor, "single");
    if (text_of(member(*processor, "type")) != "TemplateProcessing" || single == nullptr || !single->is_array() ||
        single->empty()) {
        return {};
    }
    const bool several = single->size() > 1;
    return {several && single->front().contains("SpecialToken"), several && single->back().contains("SpecialToken")};
}

// A special token is a text, or an object with one.
std::optional<std::string> special_text(const Json& config, std::string_view key) {
    const Json* value = member(config, key);
    if (value == nullptr) return std::nullopt;
    return value->is_object() ? text_of(member(*value, "content")) : text_of(value);
}

void add_special_ids(const Json& tokenizer_config, const Json& config, const Vocabulary& vocabulary,
                     GgufWriter& writer) {
    constexpr std::pair<std::string_view, std::string_view> kSpecials[] = {
        {"bos", "bos"}, {"eos", "eos"}, {"unk", "unknown"}, {"pad", "padding"}};
    for (const auto& [name, key] : kSpecials) {
        std::optional<uint32_t> id;
        if (const auto text = special_text(tokenizer_config, fmt::format("{}_token", name)))
            id = vocabulary.id_of(*text);
        if (!id) {
            const Json* number = member(config, fmt::format("{}_token_id", name));
            const bool usable = number != nullptr && number->is_number_unsigned();
            if (usable && number->get<uint64_t>() < vocabulary.size()) id = number->get<uint32_t>();
        }
        if (id) writer.add(fmt::format("tokenizer.ggml.{}_token_id", key), *id);
    }
}

// chat_template.jinja, then chat_template.json, then tokenizer_config.json, whose template may be one of several.
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

}  // namespace

Result<void> add_vocabulary(const ModelDirectory& directory, int64_t rows, GgufWriter& writer) {
    if (!directory.has("tokenizer.json") && directory.has("tekken.json")) {
        TRY(add_tekken_vocabulary(directory, rows, writer));
        TRY_ASSIGN(const std::optional<std::string> found, chat_template(directory, Json::object()));
        if (found) writer.add("tokenizer.chat_template", *found);
        return {};
    }
    if (!directory.has("tokenizer.json")) {
        return fail("{}: has no tokenizer.json or tekken.json, from which the vocabulary of a GGUF file is made",
                    directory.name());
    }
    TRY_ASSIGN(const Json tokenizer, directory.read_json("tokenizer.json", kMostBytes));
    Json config = Json::object();
    if (directory.has("tokenizer_config.json")) {
        TRY_ASSIGN(config, directory.read_json("tokenizer_config.json", kMostBytes));
    }
    Vocabulary vocabulary(tokenizer, directory.name_of("tokenizer.json"), rows);
    TRY(vocabulary.read());
    TRY(vocabulary.write(writer));
    const Json* text = member(directory.config(), "text_config");
    add_special_ids(config, text != nullptr ? *text : directory.config(), vocabulary, writer);
    const Ends ends = ends_of(member(tokenizer, "post_processor"));
    const auto flag = [&](std::string_view key, bool otherwise) {
        const Json* value = member(config, key);
        return otherwise || (value != nullptr && value->is_boolean() && value->get<bool>());
    };
    writer.add("tokenizer.ggml.add_bos_token", flag("add_bos_token", ends.before));
    if (flag("add_eos_token", ends.behind)) writer.add("tokenizer.ggml.add_eos_token", true);
    TRY_ASSIGN(const std::optional<std::string> found, chat_template(directory, config));
    if (found) writer.add("tokenizer.chat_template", *found);
    return {};
}

}  // namespace invar
