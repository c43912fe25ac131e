// The merge loop and the table of merges (byte_pair.h).
#include "text/tokenizer/byte_pair.h"

#include <algorithm>
#include <bit>

#include "text/tokenizer/utf8.h"

namespace invar {

MergeTable::MergeTable(size_t most_merges) {
    const size_t places = std::bit_ceil(std::max<size_t>(most_merges, 8) * 2);
    slots_.resize(places);
    shift_ = 64 - std::countr_zero(places);
}

size_t MergeTable::place_of(uint64_t pair) const {
    return pair * 0x9E3779B97F4A7C15u >> shift_;  // Fibonacci hashing: the top bits of the product
}

void MergeTable::insert(int32_t left, int32_t right, Merge merge) {
    const uint64_t pair = uint64_t{static_cast<uint32_t>(left)} << 32 | static_cast<uint32_t>(right);
    for (size_t place = place_of(pair);; place = (place + 1) & (slots_.size() - 1)) {
        if (slots_[place].pair == pair) return;
        if (slots_[place].pair != kFree) continue;
        slots_[place] = {pair, merge};
        return;
    }
}

Merge MergeTable::find(int32_t left, int32_t right) const {
    const uint64_t pair = uint64_t{static_cast<uint32_t>(left)} << 32 | static_cast<uint32_t>(right);
    for (size_t place = place_of(pair); slots_[place].pair != kFree; place = (place + 1) & (slots_.size() - 1)) {
        if (slots_[place].pair == pair) return slots_[place].merge;
    }
    return {};
}

Result<MergeTable> read_merges(const Vocabulary& vocabulary, std::vector<std::string>& notes) {
    const VocabularySource& source = vocabulary.source();
    const std::vector<std::string>& merges = source.merges;
    if (merges.size() > UINT32_MAX / 2) return fail("{}: {} merges are too many", source.origin, merges.size());
    MergeTable table(merges.size());
    size_t left_out = 0;
    std::string joined;
    for (size_t rank = 0; rank < merges.size(); ++rank) {
        const std::string_view merge = merges[rank];
        const size_t space = merge.find(' ');
        if (space == 0 || space >= merge.size() - 1 || merge.find(' ', space + 1) != std::string_view::npos) {
            return fail("{}: merge {} is not two texts with one space between them (tokenizer.ggml.merges)",
                        source.origin, rank);
        }
        const auto left = vocabulary.find(merge.substr(0, space));
        const auto right = vocabulary.find(merge.substr(space + 1));
        joined.assign(merge.substr(0, space)).append(merge.substr(space + 1));
        const auto result = vocabulary.find(joined);
        const bool usable =
            left && right && result && vocabulary.is_mergeable(*result) &&
            vocabulary.piece(*result).size() == vocabulary.piece(*left).size() + vocabulary.piece(*right).size() &&
            vocabulary.piece(*result).starts_with(vocabulary.piece(*left)) &&
            vocabulary.piece(*result).ends_with(vocabulary.piece(*right));
        if (usable) {
            table.insert(*left, *right, {static_cast<uint32_t>(rank), *result});
        } else {
            ++left_out;
        }
    }
    if (left_out > 0) {
        notes.push_back(fmt::format("{} of {} merges are not used: they name texts that are no tokens, or special ones",
                                    left_out, merges.size()));
    }
    return table;
}

BytePairEncoder::BytePairEncoder(const Vocabulary& vocabulary, MergeTable merges, bool whole_words_first)
    : vocabulary_(&vocabulary), merges_(std::move(merges)) {
    byte_tokens_.fill(-1);
    const auto bytes_of = [this](int32_t token) { return vocabulary_->piece(token); };
    if (whole_words_first) words_.emplace(vocabulary_->size());
    for (int32_t token = 0; token < vocabulary_->size(); ++token) {
        if (vocabulary_->kind(token) != TokenKind::normal) continue;
        const std::string_view piece = vocabulary_->piece(token);
        if (words_ && !piece.empty() && !words_->find(piece, bytes_of)) words_->insert(piece, token);
        const std::string_view text = vocabulary_->text(token);
        if (piece.size() != 1) continue;
        if (byte_level_byte(read_utf8(text).character)) byte_tokens_[static_cast<uint8_t>(piece[0])] = token;
    }
}

Result<void> BytePairEncoder::encode(std::string_view text, Span word, ModelWork& work,
                                     std::vector<int32_t>& tokens) const {
    const std::string_view bytes = text.substr(word.begin, word.end - word.begin);
    if (words_) {
        if (const auto whole = words_->find(bytes, [this](int32_t token) { return vocabulary_->piece(token); })) {
            tokens.push_back(*whole);
            return {};
        }
    }
    MergeWork& merges = work.merges;
    merges.symbols.clear();
    for (uint32_t i = 0; i < bytes.size(); ++i) {
        const int32_t token = byte_tokens_[static_cast<uint8_t>(bytes[i])];
        if (token < 0) {
            return fail("the vocabulary has no token for byte 0x{:02X}, which is at byte {} of the text",
                        static_cast<uint8_t>(bytes[i]), word.begin + i);
        }
        merges.append(i, 1, token);
    }
    merge_neighbours(merges, [this](const MergeSymbol& left, const MergeSymbol& right) {
        return merges_.find(left.token, right.token);
    });
    for (int32_t i = 0; i >= 0; i = merges.symbols[i].next) tokens.push_back(merges.symbols[i].token);
    return {};
}

}  // namespace invar
