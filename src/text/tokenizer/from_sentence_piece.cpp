// The parts, from what the file says (sentence_piece_file.h). Read from_sentence_piece.h first.
#include "text/tokenizer/from_sentence_piece.h"

#include <algorithm>

#include "files/printable.h"
#include "text/tokenizer/assemble.h"
#include "text/tokenizer/sentence_piece.h"
#include "text/tokenizer/sentence_piece_file.h"
#include "text/tokenizer/unigram.h"

namespace invar {
namespace {

using Model = SentencePieceFile;

std::string with_spaces(std::string_view marked) {
    constexpr std::string_view kMark = "\xE2\x96\x81";  // U+2581
    std::string text;
    while (!marked.empty()) {
        const bool is_mark = marked.starts_with(kMark);
        text += is_mark ? ' ' : marked[0];
        marked.remove_prefix(is_mark ? kMark.size() : 1);
    }
    return text;
}

// Tokens beside the file's own, from tokenizer_config.json and added_tokens.json: behind the pieces, or in their
// places.
Result<std::vector<AddedToken>> place_more_tokens(const FileHints& hints, VocabularySource& source) {
    std::vector<AddedToken> added;
    const size_t most = source.tokens.size() + hints.added.size() + 65536;
    for (AddedToken token : hints.added) {
        const auto same = std::find(source.tokens.begin(), source.tokens.end(), token.text);
        if (same != source.tokens.end()) token.token = static_cast<int32_t>(same - source.tokens.begin());
        const auto id = static_cast<size_t>(token.token);
        if (token.token < 0) continue;
        if (id >= most)
            return fail("{}: the added token '{}' has the id {}, far behind all others", source.origin,
                        printable(token.text, 60), id);
        if (id >= source.tokens.size()) {
            source.tokens.resize(id + 1);
            source.kinds.resize(id + 1, static_cast<int32_t>(TokenKind::unused));
            source.scores.resize(id + 1);
        }
        if (!source.tokens[id].empty() && source.tokens[id] != token.text) continue;  // the file's own token counts
        source.tokens[id] = token.text;
        source.kinds[id] = static_cast<int32_t>(token.special ? TokenKind::control : TokenKind::user_defined);
        added.push_back(std::move(token));
    }
    return added;
}

// Control and unknown tokens, and tokens of other files, are cut out of the text first. The file's own user-defined
// ones are found later, in the normalised text.
AddedTokens tokens_to_cut(const Model& model, const VocabularySource& source, std::vector<AddedToken> more) {
    for (size_t id = 0; id < model.pieces.size(); ++id) {
        const auto kind = static_cast<TokenKind>(source.kinds[id]);
        if (kind != TokenKind::control && kind != TokenKind::unknown) continue;
        AddedToken& entry = more.emplace_back();
        entry.text = model.pieces[id];
        entry.token = static_cast<int32_t>(id);
        entry.special = true;
    }
    return AddedTokens(std::move(more), AddedTokens::Reading::gguf);
}

// The text that each token decodes to. In the file's own tokens, marks become spaces.
std::vector<std::string> pieces_of(const Model& model, const VocabularySource& source) {
    std::vector<std::string> pieces = source.tokens;
    for (size_t id = 0; id < model.pieces.size(); ++id) {
        const auto kind = static_cast<TokenKind>(source.kinds[id]);
        if (kind == TokenKind::byte) {
            const auto byte = byte_token_byte(pieces[id]);
            if (byte) pieces[id].assign(1, static_cast<char>(*byte));
        } else if (kind != TokenKind::control && kind != TokenKind::unknown) {
            pieces[id] = with_spaces(pieces[id]);
        }
    }
    return pieces;
}

AddedTokens user_defined_of(const Model& model) {
    std::vector<AddedToken> entries;
    for (size_t id = 0; id < model.pieces.size(); ++id) {
        if (static_cast<TokenKind>(model.kinds[id]) != TokenKind::user_defined) continue;
        AddedToken& entry = entries.emplace_back();
        entry.text = model.pieces[id];
        entry.token = static_cast<int32_t>(id);
    }
    return AddedTokens(std::move(entries), AddedTokens::Reading::gguf);
}

std::unique_ptr<TokenModel> unigram_of(const Model& model, const Vocabulary& vocabulary) {
    std::vector<double> scores(model.scores.begin(), model.scores.end());
    std::vector<bool> takes_part(scores.size());
    UnigramRules rules;
    rules.sums_in_binary32 = true;
    for (size_t id = 0; id < scores.size(); ++id) {
        const auto kind = static_cast<TokenKind>(model.kinds[id]);
        takes_part[id] = kind == TokenKind::normal || kind == TokenKind::user_defined;
        // The library adds this bonus, so that user-defined pieces win.
        if (kind == TokenKind::user_defined)
            scores[id] = static_cast<float>(0.1 * (static_cast<double>(model.pieces[id].size()) - 1));
        if (kind == TokenKind::byte) rules.byte_fallback = true;
        if (kind == TokenKind::unknown) rules.unknown = static_cast<int32_t>(id);
    }
    return std::make_unique<UnigramEncoder>(vocabulary, std::move(scores), std::move(takes_part), rules);
}

}  // namespace

Result<TokenizerParts> parts_from_sentence_piece(std::string_view bytes, const std::string& origin,
                                                 const FileHints& hints) {
    const Result<Model> model = read_sentence_piece_file(bytes);
    if (!model) return fail("{}: {}", origin, model.error().message);
    return parts_of_sentence_piece(*model, origin, hints);
}

Result<TokenizerParts> parts_of_sentence_piece(const SentencePieceFile& model, const std::string& origin,
                                               const FileHints& given) {
    TokenizerParts parts;
    parts.taken_from = origin;
    VocabularySource source;
    source.origin = origin;
    source.model = "llama";
    source.tokens = model.pieces;
    source.kinds = model.kinds;
    source.scores = model.scores;
    TRY_ASSIGN(std::vector<AddedToken> more, place_more_tokens(given, source));
    parts.added = tokens_to_cut(model, source, std::move(more));
    source.pieces = pieces_of(model, source);
    // The file's own user-defined pieces are found in the normalised text, which is cut where they stand.
    for (size_t id = 0; id < model.kinds.size(); ++id) {
        if (model.kinds[id] == static_cast<int32_t>(TokenKind::user_defined)) {
            source.kinds[id] = static_cast<int32_t>(TokenKind::normal);
        }
    }
    FileHints hints = given;
    const auto has = [&](const std::string& piece) {
        return std::find(source.tokens.begin(), source.tokens.end(), piece) != source.tokens.end();
    };
    if (!hints.bos && has(model.bos)) hints.bos = model.bos;
    if (!hints.eos && has(model.eos)) hints.eos = model.eos;
    if (!hints.padding && has(model.padding)) hints.padding = model.padding;
    TRY(add_vocabulary(std::move(source), hints, parts));

    normalize::SentencePiece step;
    if (!model.charsmap.empty()) {
        Result<Charsmap> map = Charsmap::read(model.charsmap);
        if (!map) return fail("{}: {}", origin, map.error().message);
        step.map = std::move(*map);
    }
    step.add_dummy_prefix = hints.add_prefix_space.value_or(model.add_dummy_prefix);
    step.remove_extra_spaces = model.remove_extra_whitespaces;
    step.kept = user_defined_of(model);
    parts.adds_space_prefix = step.add_dummy_prefix;
    parts.decoder.drops_space_after_specials = step.add_dummy_prefix || step.remove_extra_spaces;
    parts.normalizer.add(std::move(step));
    if (model.type == 1) {
        parts.model = unigram_of(model, *parts.vocabulary);
    } else {
        parts.added_normalized = user_defined_of(model);
        parts.model = std::make_unique<SentencePieceEncoder>(*parts.vocabulary, SentencePieceEncoder::Input::marked);
    }
    const int32_t bos = parts.vocabulary->source().bos;
    if (bos >= 0) parts.before.push_back(bos);
    apply_end_rules(hints, parts);
    return parts;
}

}  // namespace invar
