// Read encoder_vocabularies.h first.
#include "text/tokenizer/encoder_vocabularies.h"

#include <algorithm>
#include <cmath>

#include "files/printable.h"
#include "text/tokenizer/from_sentence_piece.h"
#include "text/tokenizer/from_tokenizer_json.h"

namespace invar {
namespace {

constexpr std::string_view kWordMark = "\xE2\x96\x81";  // U+2581
constexpr std::string_view kSubwordPrefix = "##";
// BERT's pre-tokeniser cuts at white space and puts every punctuation character by itself.
constexpr std::string_view kBertSpace = R"(\s)";
constexpr std::string_view kBertPunctuation = R"([\p{P}!-/:-@\[-`{-~])";

Result<void> check_lists(const VocabularySource& source, bool has_scores) {
    const size_t count = source.tokens.size();
    if (count == 0) return fail("{}: the vocabulary is empty (tokenizer.ggml.tokens)", source.origin);
    if (source.kinds.size() != count) {
        return fail("{}: {} tokens but {} token types (tokenizer.ggml.token_type)", source.origin, count,
                    source.kinds.size());
    }
    for (size_t i = 0; i < count; ++i) {
        if (source.kinds[i] < 0 || source.kinds[i] > 6) {
            return fail("{}: token {} has type {}, which is none of 0 to 6 (tokenizer.ggml.token_type)", source.origin,
                        i, source.kinds[i]);
        }
    }
    if (!has_scores) return {};
    if (source.scores.size() != count)
        return fail("{}: {} tokens but {} scores (tokenizer.ggml.scores)", source.origin, count, source.scores.size());
    for (size_t i = 0; i < count; ++i) {
        if (!std::isfinite(source.scores[i]))
            return fail("{}: token {} has the score {}", source.origin, i, source.scores[i]);
    }
    return {};
}

// The text of a token as the hints want it; nothing for an id that names none. `bos` is checked like the others.
Result<std::optional<std::string>> text_of(const VocabularySource& source, const std::vector<std::string>& tokens,
                                           int32_t token, std::string_view name) {
    if (token < 0) return std::nullopt;
    if (static_cast<size_t>(token) >= tokens.size()) {
        return fail("{}: the {} token is {} but the vocabulary has {} tokens (tokenizer.ggml.{}_token_id)",
                    source.origin, name, token, tokens.size(), name);
    }
    return tokens[static_cast<size_t>(token)];
}

Result<FileHints> hints_of(const VocabularySource& source, const std::vector<std::string>& tokens) {
    FileHints hints;
    TRY_ASSIGN(hints.bos, text_of(source, tokens, source.bos, "bos"));
    TRY_ASSIGN(hints.eos, text_of(source, tokens, source.eos, "eos"));
    TRY_ASSIGN(hints.unknown, text_of(source, tokens, source.unknown, "unknown"));
    TRY_ASSIGN(hints.padding, text_of(source, tokens, source.padding, "padding"));
    for (const int32_t token : source.suppressed) hints.suppressed.push_back(token);
    return hints;
}

TokenKind kind_of(const VocabularySource& source, size_t id) { return static_cast<TokenKind>(source.kinds[id]); }

// BERT's spelling of a token. Texts in square brackets are names such as [unused7], which some converters leave alone.
std::string word_piece_spelling(std::string_view stored, TokenKind kind) {
    if (kind != TokenKind::normal && kind != TokenKind::unused) return std::string(stored);
    if (stored.starts_with(kWordMark)) return std::string(stored.substr(kWordMark.size()));
    const bool is_name = stored.size() > 2 && stored.starts_with('[') && stored.ends_with(']');
    return std::string(is_name ? "" : kSubwordPrefix).append(stored);
}

Result<int32_t> token_around(const VocabularySource& source, int32_t named, int32_t otherwise, std::string_view text) {
    if (named >= 0) return named;
    if (otherwise >= 0) return otherwise;
    const auto found = std::find(source.tokens.begin(), source.tokens.end(), text);
    if (found != source.tokens.end()) return static_cast<int32_t>(found - source.tokens.begin());
    return fail(
        "{}: the file names no {} token, which a WordPiece vocabulary needs: add tokenizer.ggml.{}_token_id, or "
        "convert the model again",
        source.origin, text, text == "[CLS]" ? "cls" : "seperator");
}

// BERT's steps around a WordPiece vocabulary in BERT's own spelling.
Result<TokenizerParts> assemble_word_pieces(std::vector<std::string> tokens, std::vector<PlacedToken> added,
                                            const BertRules& rules, const std::string& origin, const FileHints& hints) {
    DescribedParts described;
    described.model.kind = "WordPiece";
    described.model.subword_prefix = kSubwordPrefix;
    described.model.tokens = std::move(tokens);
    described.model.unknown = hints.unknown;
    described.added = std::move(added);
    described.normalizer.add(normalize::Bert{.clean_text = true,
                                             .handle_chinese_chars = rules.handle_chinese_chars,
                                             .strip_accents = rules.strip_accents,
                                             .lowercase = rules.lowercase});
    TRY_ASSIGN(Pattern space, Pattern::compile(kBertSpace));
    described.splitter.add(split::ByPattern{std::move(space), SplitBehavior::removed});
    TRY_ASSIGN(Pattern punctuation, Pattern::compile(kBertPunctuation));
    described.splitter.add(split::ByPattern{std::move(punctuation), SplitBehavior::isolated});
    described.decoder.first_is_special = true;
    described.decoder.steps.emplace_back(decode::WordPiece{std::string(kSubwordPrefix), true});
    return assemble_parts(std::move(described), origin, hints);
}

}  // namespace

Result<TokenizerParts> parts_of_word_piece(const VocabularySource& source) {
    TRY(check_lists(source, false));
    std::vector<std::string> tokens;
    std::vector<PlacedToken> added;
    for (size_t id = 0; id < source.tokens.size(); ++id) {
        const TokenKind kind = kind_of(source, id);
        tokens.push_back(word_piece_spelling(source.tokens[id], kind));
        if (kind != TokenKind::control && kind != TokenKind::unknown && kind != TokenKind::user_defined) continue;
        if (source.tokens[id].empty()) continue;
        AddedToken token{.text = source.tokens[id], .token = static_cast<int32_t>(id)};
        token.special = kind != TokenKind::user_defined;
        added.push_back({std::move(token), false});
    }
    TRY_ASSIGN(FileHints hints, hints_of(source, tokens));
    if (!hints.unknown) hints.unknown = "[UNK]";
    TRY_ASSIGN(const int32_t first, token_around(source, source.classification, source.bos, "[CLS]"));
    TRY_ASSIGN(const int32_t last, token_around(source, source.separator, source.eos, "[SEP]"));
    BertRules rules;
    rules.lowercase = source.lowercase.value_or(true);
    rules.strip_accents = source.strip_accents.value_or(rules.lowercase);
    TRY_ASSIGN(TokenizerParts parts,
               assemble_word_pieces(std::move(tokens), std::move(added), rules, source.origin, hints));
    for (const int32_t token : {first, last}) {
        if (!parts.vocabulary->has(token))
            return fail("{}: token {}, which is put around a text, is none of {}", source.origin, token,
                        parts.vocabulary->size());
    }
    if (source.add_bos.value_or(true)) parts.before.push_back(first);
    if (source.add_separator.value_or(true)) parts.behind.push_back(last);
    return parts;
}

Result<TokenizerParts> parts_from_vocab_txt(std::string_view text, const std::string& origin, const BertRules& rules,
                                            const FileHints& given) {
    std::vector<std::string> tokens;
    while (!text.empty()) {
        const size_t end = std::min(text.find('\n'), text.size());
        std::string_view line = text.substr(0, end);
        text.remove_prefix(std::min(end + 1, text.size()));
        if (line.ends_with('\r')) line.remove_suffix(1);
        tokens.emplace_back(line);
    }
    FileHints hints = given;
    if (!hints.unknown) hints.unknown = "[UNK]";
    if (!hints.padding) hints.padding = "[PAD]";
    std::vector<PlacedToken> added;
    const auto add = [&](const std::string& special) {
        const auto found = std::find(tokens.begin(), tokens.end(), special);
        if (found == tokens.end()) return -1;
        AddedToken token{.text = special, .token = static_cast<int32_t>(found - tokens.begin()), .special = true};
        added.push_back({std::move(token), false});
        return added.back().token.token;
    };
    const int32_t first = add(rules.first), last = add(rules.last);
    if (first < 0 || last < 0)
        return fail("{}: '{}' is not in the vocabulary, but is put around each text", origin,
                    printable(first < 0 ? rules.first : rules.last, 60));
    for (const std::string& special : {*hints.unknown, *hints.padding, rules.mask}) add(special);
    for (const AddedToken& token : given.added) {
        if (token.token >= 0) added.push_back({token, false});
    }
    TRY_ASSIGN(TokenizerParts parts, assemble_word_pieces(std::move(tokens), std::move(added), rules, origin, hints));
    parts.before.push_back(first);
    parts.behind.push_back(last);
    return parts;
}

Result<TokenizerParts> parts_of_unigram(const VocabularySource& source) {
    TRY(check_lists(source, true));
    SentencePieceFile file;
    file.pieces = source.tokens;
    file.scores = source.scores;
    for (const int32_t kind : source.kinds)  // 0 means undefined
        file.kinds.push_back(kind == 0 ? static_cast<int32_t>(TokenKind::unused) : kind);
    file.type = 1;
    file.bos = file.eos = file.padding = {};  // the keys name them
    file.charsmap = source.charsmap;
    file.add_dummy_prefix = source.add_space_prefix.value_or(true);
    file.remove_extra_whitespaces = source.remove_extra_spaces.value_or(true);
    TRY_ASSIGN(const FileHints hints, hints_of(source, source.tokens));
    TRY_ASSIGN(TokenizerParts parts, parts_of_sentence_piece(file, source.origin, hints));
    if (!source.add_bos.value_or(false)) parts.before.clear();
    if (source.add_eos.value_or(true) && source.eos >= 0) parts.behind.push_back(source.eos);
    return parts;
}

}  // namespace invar
