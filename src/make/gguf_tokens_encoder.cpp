// Tokens of encoders: WordPiece (BERT and its kin) and Unigram (T5, XLM-RoBERTa and their kin). Read gguf_tokens.h
// first.
#include <algorithm>

#include "base/json.h"
#include "files/printable.h"
#include "make/gguf_tokens.h"
#include "text/tokenizer/base64.h"
#include "text/tokenizer/sentence_piece_file.h"
#include "text/tokenizer/vocabulary.h"

namespace invar {
namespace {

constexpr std::string_view kWordMark = "\xE2\x96\x81";  // U+2581
constexpr std::string_view kSubwordPrefix = "##";

std::optional<bool> flag_of(const Json& object, std::string_view key) {
    const Json* flag = member(object, key);
    return flag != nullptr && flag->is_boolean() ? std::optional(flag->get<bool>()) : std::nullopt;
}

// Of BERT's normaliser, GGUF says two flags; BERT's own code strips accents of what it lowers.
Result<void> read_bert_normalizer(const Json& tokenizer, const Json& config, const std::string& file,
                                  GgufTokens& tokens) {
    tokens.lowercase = flag_of(config, "do_lower_case");
    tokens.strip_accents = flag_of(config, "strip_accents");
    for (const Json* step : steps_of(tokenizer, "normalizer", "normalizers")) {
        const std::string type = text_of(member(*step, "type")).value_or("");
        if (type != "BertNormalizer") {
            return fail("{}: normalizer '{}' cannot be said in a GGUF file with WordPiece: use the directory itself",
                        file, printable(type));
        }
        tokens.lowercase = flag_of(*step, "lowercase");
        tokens.strip_accents = flag_of(*step, "strip_accents");
    }
    tokens.lowercase = tokens.lowercase.value_or(true);
    if (!tokens.strip_accents) tokens.strip_accents = tokens.lowercase;
    return {};
}

Result<void> read_unigram_normalizer(const Json& tokenizer, GgufTokens& tokens) {
    for (const Json* step : steps_of(tokenizer, "normalizer", "normalizers")) {
        const auto charsmap = text_of(member(*step, "precompiled_charsmap"));
        if (!charsmap) continue;
        TRY_ASSIGN(tokens.charsmap, decode_base64(*charsmap));
    }
    return {};
}

}  // namespace

Result<GgufTokens> word_piece_tokens(const Tokenizer& of_directory, const Json& tokenizer, const Json& config,
                                     const std::string& file, int64_t rows) {
    GgufTokens tokens(rows);
    tokens.model = "bert";
    tokens.pre = "default";
    for (int32_t id = 0; id < of_directory.size(); ++id) {
        if (!of_directory.has(id)) continue;
        const std::string_view text = of_directory.text(id);
        const TokenKind kind = of_directory.kind(id);
        std::string spelled(text);
        if (kind == TokenKind::normal) {
            spelled = text.starts_with(kSubwordPrefix) ? std::string(text.substr(kSubwordPrefix.size()))
                                                       : std::string(kWordMark).append(text);
        }
        TRY(tokens.set(file, static_cast<uint64_t>(id), std::move(spelled), kind));
    }
    TRY(read_bert_normalizer(tokenizer, config, file, tokens));
    return tokens;
}

Result<GgufTokens> unigram_tokens(const Json& tokenizer, const std::string& file, int64_t rows) {
    constexpr float kScoreOfAddedTokens = -1000;
    GgufTokens tokens(rows);
    tokens.model = "t5";
    tokens.pre = "default";
    tokens.add_space_prefix = true;
    tokens.remove_extra_whitespaces = true;
    const Json& model = tokenizer["model"];
    const Json* vocabulary = member(model, "vocab");
    const Json* unknown = member(model, "unk_id");
    if (vocabulary == nullptr || !vocabulary->is_array()) return fail("{}: the model has no vocabulary", file);
    for (size_t id = 0; id < vocabulary->size(); ++id) {
        const Json& entry = (*vocabulary)[id];
        if (!entry.is_array() || entry.size() != 2 || !entry[0].is_string() || !entry[1].is_number())
            return fail("{}: entry {} of the vocabulary is no pair of a text and a score", file, id);
        const bool is_unknown = unknown != nullptr && unknown->is_number_unsigned() && unknown->get<uint64_t>() == id;
        auto text = entry[0].get<std::string>();
        TokenKind kind = is_unknown ? TokenKind::unknown : TokenKind::normal;
        if (byte_token_byte(text)) kind = TokenKind::byte;
        TRY(tokens.set(file, id, std::move(text), kind, static_cast<float>(entry[1].get<double>())));
    }
    TRY(add_added_tokens(tokenizer, file, kScoreOfAddedTokens, tokens));
    if (unknown != nullptr && unknown->is_number_unsigned() && unknown->get<uint64_t>() < tokens.kinds.size())
        tokens.kinds[unknown->get<size_t>()] = TokenKind::unknown;
    TRY(read_unigram_normalizer(tokenizer, tokens));
    return tokens;
}

Result<GgufTokens> unigram_tokens_of_model(const SentencePieceFile& model, const std::string& file, int64_t rows) {
    GgufTokens tokens(rows);
    tokens.model = "t5";
    tokens.pre = "default";
    tokens.add_space_prefix = model.add_dummy_prefix;
    tokens.remove_extra_whitespaces = model.remove_extra_whitespaces;
    tokens.charsmap = model.charsmap;
    for (size_t id = 0; id < model.pieces.size(); ++id)
        TRY(tokens.set(file, id, model.pieces[id], static_cast<TokenKind>(model.kinds[id]), model.scores[id]));
    return tokens;
}

}  // namespace invar
