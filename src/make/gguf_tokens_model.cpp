// Tokens of sentencepiece's tokenizer.model, and what stands beside it. Read gguf_tokens.h first.
#include <fmt/format.h>

#include <array>
#include <charconv>

#include "base/json.h"
#include "files/printable.h"
#include "make/gguf_tokens.h"
#include "text/tokenizer/sentence_piece_file.h"

namespace invar {
namespace {

constexpr float kScoreOfAddedTokens = -1000;

// Texts of added tokens that are marks for the engine although their file calls them ordinary, by the converter's rule.
bool looks_special(std::string_view text) {
    constexpr std::array<std::string_view, 4> kKnown = {"<pad>", "<mask>", "<2mass>", "[@BOS@]"};
    for (const std::string_view known : kKnown) {
        if (text == known) return true;
    }
    const auto between = [&](std::string_view begin, std::string_view end) {
        return text.starts_with(begin) && text.ends_with(end);
    };
    // The second pair is of full-width characters, as in deepseek's.
    return between("<|", "|>") || between("<\xEF\xBD\x9C", "\xEF\xBD\x9C>") || between("<unused", ">");
}

std::string with_spaces(std::string text) {
    constexpr std::string_view kMark = "\xE2\x96\x81";  // U+2581
    for (size_t at = text.find(kMark); at != std::string::npos; at = text.find(kMark, at)) {
        text.replace(at, kMark.size(), " ");
    }
    return text;
}

}  // namespace

Result<GgufTokens> sentence_piece_tokens(std::string_view bytes, const std::string& file, int64_t rows) {
    const Result<SentencePieceFile> model = read_sentence_piece_file(bytes);
    if (!model) return fail("{}: {}", file, model.error().message);
    if (model->type != 2) {
        return fail("{}: is a Unigram model, and only BPE models of sentencepiece can be written into a GGUF file",
                    file);
    }
    if (!model->charsmap.empty() || model->remove_extra_whitespaces) {
        return fail("{}: normalises texts, which a GGUF file with this kind of tokenizer cannot say", file);
    }
    GgufTokens tokens(rows);
    tokens.model = "llama";
    tokens.pre = "default";
    if (!model->add_dummy_prefix) tokens.add_space_prefix = false;
    for (size_t id = 0; id < model->pieces.size(); ++id) {
        const auto kind = static_cast<TokenKind>(model->kinds[id]);
        std::string text = model->pieces[id];
        if (kind == TokenKind::user_defined) text = with_spaces(std::move(text));  // found in the text as given
        TRY(tokens.set(file, id, std::move(text), kind, model->scores[id]));
    }
    return tokens;
}

Result<void> add_tokens_json(const Json& added, const std::string& file, GgufTokens& tokens) {
    for (const auto& [text, id] : added.items()) {
        if (!id.is_number_unsigned()) return fail("{}: the id of '{}' is no id", file, printable(text, 60));
        TRY(tokens.set(file, id.get<uint64_t>(), text, TokenKind::user_defined, kScoreOfAddedTokens));
    }
    return {};
}

Result<void> add_tokens_decoder(const Json& config, const std::string& file, GgufTokens& tokens) {
    const Json* decoder = member(config, "added_tokens_decoder");
    if (decoder == nullptr || !decoder->is_object()) return {};
    for (const auto& [key, value] : decoder->items()) {
        uint64_t id = 0;
        const auto [rest, error] = std::from_chars(key.data(), key.data() + key.size(), id);
        auto text = text_of(member(value, "content"));
        if (error != std::errc() || rest != key.data() + key.size() || !text) {
            return fail("{}: added_tokens_decoder has the entry '{}' without an id or a content", file,
                        printable(key, 60));
        }
        const Json* special = member(value, "special");
        const bool control =
            (special != nullptr && special->is_boolean() && special->get<bool>()) || looks_special(*text);
        if (!control) text = with_spaces(std::move(*text));
        const TokenKind kind = control ? TokenKind::control : TokenKind::user_defined;
        TRY(tokens.set(file, id, std::move(*text), kind, kScoreOfAddedTokens));
    }
    return {};
}

}  // namespace invar
