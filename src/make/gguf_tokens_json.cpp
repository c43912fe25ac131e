// Tokens of tokenizer.json: byte-level BPE, and BPE over characters. Read gguf_tokens.h first.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <unordered_map>
#include <unordered_set>

#include "base/json.h"
#include "files/json_document.h"
#include "files/printable.h"
#include "make/gguf_tokens.h"
#include "text/tokenizer/pre_tokenizer.h"
#include "text/tokenizer/utf8.h"

namespace invar {
namespace {

constexpr std::string_view kSpaceMark = "\xE2\x96\x81";  // U+2581

// Marks that the model puts on parts of words: GGUF has none.
Result<void> check_affixes(const Json& model, const std::string& file) {
    for (const std::string_view key : {"end_of_word_suffix", "continuing_subword_prefix"}) {
        const auto text = text_of(member(model, key));
        if (!text || text->empty()) continue;
        return fail("{}: the model has the {} '{}', which a GGUF file cannot say: use the directory itself", file, key,
                    printable(*text, 60));
    }
    return {};
}

Result<void> add_vocabulary_of(const Json& model, const std::string& file, GgufTokens& tokens) {
    TRY(check_affixes(model, file));
    const Json* vocabulary = member(model, "vocab");
    if (vocabulary == nullptr || !vocabulary->is_object()) return fail("{}: the model has no vocabulary", file);
    for (const auto& [text, id] : vocabulary->items()) {
        if (!id.is_number_unsigned()) return fail("{}: the id of token '{}' is no number", file, printable(text));
        TRY(tokens.set(file, id.get<uint64_t>(), text, TokenKind::normal));
    }
    return {};
}

// Of normalizers, GGUF's byte-level BPE has none. NFC, which only changes texts that are not composed, is left out as
// the converter does.
Result<void> check_normalizers(const Json& tokenizer, const std::string& file) {
    for (const Json* step : steps_of(tokenizer, "normalizer", "normalizers")) {
        const std::string type = text_of(member(*step, "type")).value_or("");
        if (type == "NFC") continue;
        return fail("{}: normalizer '{}' cannot be said in a GGUF file: use the directory itself", file,
                    printable(type));
    }
    return {};
}

bool is_true(const Json* flag) { return flag != nullptr && flag->is_boolean() && flag->get<bool>(); }

// The expressions that cut texts one after the other. Digits and ByteLevel cut by expressions of their own.
Result<std::vector<std::string>> cutting_expressions(const Json& tokenizer, const std::string& file) {
    std::vector<std::string> found;
    for (const Json* step : steps_of(tokenizer, "pre_tokenizer", "pretokenizers")) {
        const auto kind = text_of(member(*step, "type"));
        const Json* pattern = member(*step, "pattern");
        if (kind == "Split" && pattern != nullptr) {
            found.push_back(text_of(member(*pattern, "Regex")).value_or(""));
        } else if (kind == "Digits") {
            found.emplace_back(is_true(member(*step, "individual_digits")) ? R"(\p{N})" : R"(\p{N}+)");
        } else if (kind != "ByteLevel") {
            return fail("{}: pre-tokenizer '{}' has no name in GGUF", file, printable(kind.value_or("")));
        } else if (is_true(member(*step, "add_prefix_space"))) {
            return fail("{}: ByteLevel's add_prefix_space cannot be said in a GGUF file: use the directory itself",
                        file);
        } else if (const Json* cuts = member(*step, "use_regex"); cuts == nullptr || is_true(cuts)) {
            found.emplace_back(gpt2_expression());
        }
    }
    return found;
}

// An expression with the characters themselves in place of "\x{4E00}", as tokenizer.json has them.
std::string with_characters(std::string_view expression) {
    std::string text;
    while (!expression.empty()) {
        const size_t end = expression.find('}');
        uint32_t code = 0;
        if (expression.starts_with("\\x{") && end != std::string_view::npos) {
            const std::string_view digits = expression.substr(3, end - 3);
            const auto [rest, error] = std::from_chars(digits.data(), digits.data() + digits.size(), code, 16);
            if (error == std::errc() && rest == digits.data() + digits.size()) {
                append_utf8(text, code);
                expression.remove_prefix(end + 1);
                continue;
            }
        }
        text += expression.front();
        expression.remove_prefix(1);
    }
    return text;
}

// The name of the way of cutting among those of GGUF: the same expressions in the same order. Of two with the same,
// that which agrees on whole words.
Result<std::string_view> pre_tokenizer(const Json& tokenizer, const std::string& file) {
    TRY_ASSIGN(const std::vector<std::string> found, cutting_expressions(tokenizer, file));
    const bool whole_words = is_true(member(tokenizer["model"], "ignore_merges"));
    const PreTokenizerRow* same = nullptr;
    for (const PreTokenizerRow& row : pre_tokenizer_rows()) {
        const bool alike = !row.last_only_begins_words &&
                           std::ranges::equal(row.expressions, found, {}, with_characters, with_characters);
        if (alike &&
            (same == nullptr || (same->whole_words_first != whole_words && row.whole_words_first == whole_words)))
            same = &row;
    }
    if (same != nullptr) return same->name;
    return fail("{}: cuts texts by expressions that have no name in GGUF ('{}'); there are names for those of {}", file,
                printable(fmt::format("{}", fmt::join(found, "', '")), 160), pre_tokenizer_names());
}

// "a b" or ["a", "b"]: the second can hold a blank, which GGUF writes as byte-level BPE's character for it.
Result<std::vector<std::string>> merges_of(const Json& model, const std::string& file) {
    std::vector<std::string> merges;
    const Json* list = member(model, "merges");
    if (list == nullptr || !list->is_array()) return fail("{}: has no list of merges", file);
    for (const Json& merge : *list) {
        if (merge.is_string()) {
            merges.push_back(merge.get<std::string>());
            continue;
        }
        const bool pair = merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string();
        if (!pair) return fail("{}: merge {} is no pair of texts", file, merges.size());
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

// ---- BPE over characters ----

std::optional<std::string> literal_of(const Json& step, std::string_view key) {
    const Json* pattern = member(step, key);
    return pattern == nullptr ? std::nullopt : text_of(member(*pattern, "String"));
}

// Whether a space is put before the text. All that may stand there: Prepend, Replace of a space by the mark, Metaspace,
// and a Split at spaces, of which the Replace before it left none.
Result<bool> adds_space_prefix(const Json& tokenizer, const std::string& file) {
    bool prefix = false, marks = false;
    for (const Json* step : steps_of(tokenizer, "normalizer", "normalizers")) {
        const std::string type = text_of(member(*step, "type")).value_or("");
        if (type == "Prepend" && text_of(member(*step, "prepend")) == kSpaceMark) {
            prefix = true;
        } else if (type == "Replace" && literal_of(*step, "pattern") == " " &&
                   text_of(member(*step, "content")) == kSpaceMark) {
            marks = true;
        } else {
            return fail("{}: normalizer '{}' cannot be said in a GGUF file", file, printable(type));
        }
    }
    for (const Json* step : steps_of(tokenizer, "pre_tokenizer", "pretokenizers")) {
        const std::string type = text_of(member(*step, "type")).value_or("");
        if (type == "Metaspace" && text_of(member(*step, "replacement")) == kSpaceMark) {
            const Json* old = member(*step, "add_prefix_space");
            const bool by_default = old == nullptr || !old->is_boolean() || old->get<bool>();
            prefix = text_of(member(*step, "prepend_scheme")).value_or(by_default ? "always" : "never") != "never";
            marks = true;
        } else if (type != "Split" || !marks || literal_of(*step, "pattern") != " ") {
            return fail("{}: pre-tokenizer '{}' cannot be said in a GGUF file", file, printable(type));
        }
    }
    if (!marks) return fail("{}: does not turn spaces into U+2581, which a GGUF file cannot say", file);
    return prefix;
}

// Text of a token that merges give -> which new one it is, by its first merge.
using MergeOrder = std::unordered_map<std::string, int64_t>;

// Merges of one result stand together, or a score could not say their order.
Result<MergeOrder> read_merge_order(const Json& model, const std::string& file) {
    const Json* list = member(model, "merges");
    if (list == nullptr || !list->is_array()) return fail("{}: has no list of merges", file);
    MergeOrder order;
    size_t count = 0;
    std::string last;
    for (const Json& merge : *list) {
        std::string result;
        if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
            result = merge[0].get<std::string>() + merge[1].get<std::string>();
        } else if (merge.is_string() && std::ranges::count(merge.get_ref<const std::string&>(), ' ') == 1) {
            result = merge.get<std::string>();
            result.erase(result.find(' '), 1);
        } else {
            return fail("{}: merge {} is no pair of texts", file, count);
        }
        ++count;
        if (result == last) continue;
        if (!order.emplace(result, order.size()).second) {
            return fail("{}: the merges of '{}' do not stand together, which scores of tokens cannot say", file,
                        printable(result, 60));
        }
        last = std::move(result);
    }
    return order;
}

bool starts_character(std::string_view text, size_t at) { return (static_cast<uint8_t>(text[at]) & 0xC0) != 0x80; }

// With scores, any two tokens merge whose texts together are a token: for each such token the list must have a merge.
Result<void> check_that_all_merge(const GgufTokens& tokens, const MergeOrder& order, const std::string& file) {
    std::unordered_set<std::string_view> vocabulary;
    for (size_t id = 0; id < tokens.texts.size(); ++id) {
        if (tokens.kinds[id] == TokenKind::normal) vocabulary.insert(tokens.texts[id]);
    }
    for (size_t id = 0; id < tokens.texts.size(); ++id) {
        const std::string& text = tokens.texts[id];
        const std::string_view token = text;
        if (tokens.kinds[id] != TokenKind::normal || order.contains(text)) continue;
        for (size_t at = 1; at < text.size(); ++at) {
            if (!starts_character(text, at)) continue;
            if (!vocabulary.contains(token.substr(0, at)) || !vocabulary.contains(token.substr(at))) continue;
            return fail("{}: no merge makes the token '{}', which scores of tokens cannot say", file,
                        printable(text, 60));
        }
    }
    return {};
}

}  // namespace

Result<void> add_added_tokens(const Json& tokenizer, const std::string& file, float score, GgufTokens& tokens) {
    const Json* added = member(tokenizer, "added_tokens");
    if (added == nullptr || !added->is_array()) return {};
    for (const Json& token : *added) {
        auto text = text_of(member(token, "content"));
        const Json* id = member(token, "id");
        const Json* special = member(token, "special");
        if (!text || id == nullptr || !id->is_number_unsigned()) {
            return fail("{}: an added token has no content or no id", file);
        }
        const bool control = special != nullptr && special->is_boolean() && special->get<bool>();
        const TokenKind kind = control ? TokenKind::control : TokenKind::user_defined;
        TRY(tokens.set(file, id->get<uint64_t>(), std::move(*text), kind, score));
    }
    return {};
}

Result<GgufTokens> byte_level_tokens(const Json& tokenizer, const std::string& file, int64_t rows) {
    GgufTokens tokens(rows);
    tokens.model = "gpt2";
    const Json& model = tokenizer["model"];
    TRY(add_vocabulary_of(model, file, tokens));
    TRY(add_added_tokens(tokenizer, file, 0, tokens));
    TRY(check_normalizers(tokenizer, file));
    TRY_ASSIGN(tokens.pre, pre_tokenizer(tokenizer, file));
    TRY_ASSIGN(tokens.merges, merges_of(model, file));
    return tokens;
}

Result<GgufTokens> character_tokens(const Json& tokenizer, const std::string& file, int64_t rows) {
    constexpr float kScoreOfAddedTokens = -1000;
    GgufTokens tokens(rows);
    tokens.model = "llama";
    tokens.pre = "default";
    TRY_ASSIGN(tokens.add_space_prefix, adds_space_prefix(tokenizer, file));
    const Json& model = tokenizer["model"];
    TRY(add_vocabulary_of(model, file, tokens));
    TRY_ASSIGN(const MergeOrder order, read_merge_order(model, file));
    const auto last = -static_cast<float>(order.size());
    for (size_t id = 0; id < tokens.texts.size(); ++id) {
        if (tokens.kinds[id] == TokenKind::unused) continue;
        const auto found = order.find(tokens.texts[id]);
        tokens.scores[id] = found != order.end() ? -static_cast<float>(found->second) : last;
        if (!byte_token_byte(tokens.texts[id])) continue;
        tokens.kinds[id] = TokenKind::byte;
        tokens.scores[id] = 0;
    }
    TRY(add_added_tokens(tokenizer, file, kScoreOfAddedTokens, tokens));
    TRY(check_that_all_merge(tokens, order, file));
    return tokens;
}

}  // namespace invar
