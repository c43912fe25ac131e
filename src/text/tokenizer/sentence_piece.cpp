// Merges characters and falls back to bytes (sentence_piece.h).
#include "text/tokenizer/sentence_piece.h"

#include <algorithm>
#include <unordered_map>

#include "files/printable.h"
#include "text/tokenizer/merge.h"
#include "text/tokenizer/utf8.h"

namespace invar {
namespace {

constexpr std::string_view kSpaceMark = "\xE2\x96\x81";  // U+2581

std::string escaped(std::string_view text, bool with_space_prefix) {
    std::string marked;
    marked.reserve(text.size() + text.size() / 2 + kSpaceMark.size());
    if (with_space_prefix) marked += kSpaceMark;
    for (const char byte : text) {
        if (byte == ' ') {
            marked += kSpaceMark;
        } else {
            marked += byte;
        }
    }
    return marked;
}

// The next place, from `from` on, where a space mark follows another character.
size_t next_word(std::string_view marked, size_t from) {
    bool is_in_word = false;
    for (size_t at = from; at < marked.size();) {
        const bool is_mark = marked.substr(at, kSpaceMark.size()) == kSpaceMark;
        if (is_mark && is_in_word) return at;
        is_in_word = !is_mark;
        at += is_mark ? kSpaceMark.size() : 1;
    }
    return marked.size();
}

std::vector<uint32_t> ranks_of_scores(std::vector<float> scores) {
    std::vector<float> descending = scores;
    std::sort(descending.begin(), descending.end(), std::greater<>());
    descending.erase(std::unique(descending.begin(), descending.end()), descending.end());
    std::vector<uint32_t> ranks;
    ranks.reserve(scores.size());
    for (const float score : scores) {
        const auto place = std::lower_bound(descending.begin(), descending.end(), score, std::greater<>());
        ranks.push_back(static_cast<uint32_t>(place - descending.begin()));
    }
    return ranks;
}

}  // namespace

struct SentencePieceEncoder::Work {
    std::string text;  // with marks instead of spaces
    MergeWork merges;
    // An unused token may be a step towards a longer one. If it remains, it is taken apart again. Maps the token's text
    // to the size in bytes of its left part.
    std::unordered_map<std::string_view, uint32_t> left_part_of_unused;
    std::vector<std::string_view> open;  // parts of a symbol that are still to be emitted, the next one last
};

SentencePieceEncoder::SentencePieceEncoder(const Vocabulary& vocabulary, Input input)
    : vocabulary_(&vocabulary), input_(input) {
    byte_tokens_.fill(-1);
    uses_.resize(vocabulary.size(), Use::none);
    ranks_ = ranks_of_scores(vocabulary.source().scores);
    // A token of another kind would turn text into a control token.
    const int32_t named = vocabulary.source().unknown;
    if (named >= 0 && vocabulary.kind(named) == TokenKind::unknown) unknown_ = named;
    for (int32_t token = 0; token < vocabulary.size(); ++token) {
        const TokenKind kind = vocabulary.kind(token);
        if (kind == TokenKind::unused) uses_[token] = Use::step;
        if (vocabulary.is_mergeable(token)) uses_[token] = Use::result;
        if (kind == TokenKind::byte) byte_tokens_[static_cast<uint8_t>(vocabulary.piece(token)[0])] = token;
        if (kind == TokenKind::unknown && unknown_ < 0) unknown_ = token;
        const std::string_view text = vocabulary.text(token);
        if (uses_[token] != Use::none && next_word(text, 0) < text.size()) spaces_begin_words_ = false;
    }
}

void SentencePieceEncoder::merge_word(Work& work, Span word) const {
    const std::string_view text = work.text;
    work.merges.symbols.clear();
    for (size_t begin = word.begin; begin < word.end;) {
        const uint32_t size = read_utf8(text.substr(begin)).bytes;
        work.merges.append(static_cast<uint32_t>(begin), size, -1);
        begin += size;
    }
    merge_neighbours(work.merges, [&](const MergeSymbol& left, const MergeSymbol& right) -> Merge {
        const uint32_t size = left.size + right.size;
        if (size > vocabulary_->longest_text()) return {};
        const std::string_view both = text.substr(left.begin, size);
        const std::optional<int32_t> token = vocabulary_->find(both);
        if (!token || uses_[*token] == Use::none) return {};
        if (uses_[*token] == Use::step) work.left_part_of_unused[both] = left.size;
        return {ranks_[*token], *token};
    });
}

Result<void> SentencePieceEncoder::encode(std::string_view text, Span piece, ModelWork&,
                                          std::vector<int32_t>& tokens) const {
    Work work;
    const std::string_view given = text.substr(piece.begin, piece.end - piece.begin);
    work.text = input_ == Input::marked ? std::string(given) : escaped(given, input_ == Input::prefixed);
    for (Span word; word.begin < work.text.size(); word.begin = word.end) {
        word.end = spaces_begin_words_ ? next_word(work.text, word.begin) : work.text.size();
        merge_word(work, word);
        for (int32_t i = 0; i >= 0; i = work.merges.symbols[i].next) {
            const MergeSymbol& symbol = work.merges.symbols[i];
            if (symbol.token >= 0 && uses_[symbol.token] == Use::result) {
                tokens.push_back(symbol.token);
            } else {
                TRY(emit(work, {symbol.begin, symbol.begin + symbol.size}, tokens));
            }
        }
    }
    return {};
}

// Appends the token of a symbol, or those of its parts.
Result<void> SentencePieceEncoder::emit(Work& work, Span symbol, std::vector<int32_t>& tokens) const {
    std::vector<std::string_view>& open = work.open;
    open.assign(1, std::string_view(work.text).substr(symbol.begin, symbol.end - symbol.begin));
    while (!open.empty()) {
        const std::string_view part = open.back();
        open.pop_back();
        const std::optional<int32_t> token = vocabulary_->find(part);
        if (token && uses_[*token] == Use::result) {
            tokens.push_back(*token);
            continue;
        }
        const auto split = work.left_part_of_unused.find(part);
        if (split == work.left_part_of_unused.end()) {
            TRY(emit_bytes(part, tokens));
            continue;
        }
        open.push_back(part.substr(split->second));
        open.push_back(part.substr(0, split->second));
    }
    return {};
}

Result<void> SentencePieceEncoder::emit_bytes(std::string_view character, std::vector<int32_t>& tokens) const {
    const auto has_byte = [&](char byte) { return byte_tokens_[static_cast<uint8_t>(byte)] >= 0; };
    if (std::all_of(character.begin(), character.end(), has_byte)) {
        for (const char byte : character) tokens.push_back(byte_tokens_[static_cast<uint8_t>(byte)]);
        return {};
    }
    if (unknown_ < 0) {
        return fail("the vocabulary has no token for '{}', none for its bytes, and no unknown token",
                    printable(character));
    }
    if (tokens.empty() || tokens.back() != unknown_) tokens.push_back(unknown_);  // a run gets one
    return {};
}

}  // namespace invar
