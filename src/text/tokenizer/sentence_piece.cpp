// The merge loop over characters and the fall-back to bytes. Read sentence_piece.h first.
#include "text/tokenizer/sentence_piece.h"

#include <algorithm>

#include "text/tokenizer/utf8.h"

namespace invar {
namespace {

constexpr std::string_view kSpaceMark = "\xE2\x96\x81";  // U+2581

std::string escaped(std::string_view text, bool with_space_prefix) {
    std::string marked;
    marked.reserve(text.size() + text.size() / 2 + kSpaceMark.size());
    if (with_space_prefix) marked += kSpaceMark;
    for (const char byte : text) {
        if (byte == ' ')
            marked += kSpaceMark;
        else
            marked += byte;
    }
    return marked;
}

}  // namespace

struct SentencePieceEncoder::Work {
    struct Symbol {
        uint32_t begin;
        uint32_t size;  // bytes; 0: merged into its left neighbour
        int32_t previous;
        int32_t next;  // -1: none
    };
    struct Candidate {
        float score;
        int32_t left;   // index of the symbol
        uint32_t size;  // of both; differs from the symbols' by now if one was merged since
    };
    // The order of a heap whose top has the highest score and is leftmost.
    static bool is_weaker(const Candidate& a, const Candidate& b) {
        return a.score != b.score ? a.score < b.score : a.left > b.left;
    }

    std::string text;  // escaped
    std::vector<Symbol> symbols;
    std::vector<Candidate> candidates;
    // An unused token may be a step towards a longer one. Where it remains, it is taken apart again: text of the token
    // -> bytes of its left part.
    std::unordered_map<std::string_view, uint32_t> left_part_of_unused;
    std::vector<std::string_view> open;  // parts of a symbol still to be emitted, the next one last

    std::string_view view(const Symbol& symbol) const {
        return std::string_view(text).substr(symbol.begin, symbol.size);
    }
};

SentencePieceEncoder::SentencePieceEncoder(const Vocabulary& vocabulary) : vocabulary_(&vocabulary) {
    byte_tokens_.fill(-1);
    uses_.resize(vocabulary.size(), Use::none);
    unknown_ = vocabulary.source().unknown;
    for (int32_t token = 0; token < vocabulary.size(); ++token) {
        const TokenKind kind = vocabulary.kind(token);
        if (kind == TokenKind::unused) uses_[token] = Use::step;
        if (vocabulary.is_mergeable(token)) uses_[token] = Use::result;
        if (kind == TokenKind::byte) byte_tokens_[static_cast<uint8_t>(vocabulary.piece(token)[0])] = token;
        if (kind == TokenKind::unknown && unknown_ < 0) unknown_ = token;
    }
}

// Appends the pair of symbol `left` and its neighbour if both together are a token, without restoring the heap.
void SentencePieceEncoder::propose(Work& work, int32_t left) const {
    if (left < 0 || work.symbols[left].next < 0) return;
    const Work::Symbol& first = work.symbols[left];
    const uint32_t size = first.size + work.symbols[first.next].size;
    if (size > vocabulary_->longest_text()) return;
    const std::string_view both = std::string_view(work.text).substr(first.begin, size);
    const std::optional<int32_t> token = vocabulary_->find(both);
    if (!token || uses_[*token] == Use::none) return;
    work.candidates.push_back({vocabulary_->score(*token), left, size});
    if (uses_[*token] == Use::step) work.left_part_of_unused[both] = first.size;
}

Result<void> SentencePieceEncoder::encode(std::string_view text, Span piece, bool with_space_prefix,
                                          std::vector<int32_t>& tokens) const {
    Work work;
    work.text = escaped(text.substr(piece.begin, piece.end - piece.begin), with_space_prefix);
    auto& symbols = work.symbols;
    auto& candidates = work.candidates;
    for (uint32_t begin = 0; begin < work.text.size();) {
        const uint32_t size = read_utf8(std::string_view(work.text).substr(begin)).bytes;
        const auto index = static_cast<int32_t>(symbols.size());
        symbols.push_back({begin, size, index - 1, begin + size < work.text.size() ? index + 1 : -1});
        begin += size;
    }
    for (size_t i = 0; i < symbols.size(); ++i) propose(work, static_cast<int32_t>(i));
    std::make_heap(candidates.begin(), candidates.end(), Work::is_weaker);
    const auto propose_to_heap = [&](int32_t left) {
        const size_t before = candidates.size();
        propose(work, left);
        if (candidates.size() > before) std::push_heap(candidates.begin(), candidates.end(), Work::is_weaker);
    };
    while (!candidates.empty()) {
        std::pop_heap(candidates.begin(), candidates.end(), Work::is_weaker);
        const Work::Candidate best = candidates.back();
        candidates.pop_back();
        Work::Symbol& left = symbols[best.left];
        if (left.size == 0 || left.next < 0) continue;
        Work::Symbol& right = symbols[left.next];
        if (left.size + right.size != best.size) continue;
        left.size = best.size;
        left.next = right.next;
        if (right.next >= 0) symbols[right.next].previous = best.left;
        right.size = 0;
        propose_to_heap(left.previous);
        propose_to_heap(best.left);
    }
    for (int32_t i = symbols.empty() ? -1 : 0; i >= 0; i = symbols[i].next)
        TRY(emit(work, work.view(symbols[i]), tokens));
    return {};
}

// Appends the token of a symbol, or those of its parts.
Result<void> SentencePieceEncoder::emit(Work& work, std::string_view symbol, std::vector<int32_t>& tokens) const {
    std::vector<std::string_view>& open = work.open;
    open.assign(1, symbol);
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
        return fail("the vocabulary has no token for '{}', none for its bytes, and no unknown token", character);
    }
    if (tokens.empty() || tokens.back() != unknown_) tokens.push_back(unknown_);  // one for a run of them
    return {};
}

}  // namespace invar
