// A sorted list narrowed byte by byte. Read special_tokens.h first.
#include "text/tokenizer/special_tokens.h"

#include <algorithm>

namespace invar {

SpecialTokens::SpecialTokens(const Vocabulary& vocabulary) {
    for (int32_t token = 0; token < vocabulary.size(); ++token) {
        const TokenKind kind = vocabulary.kind(token);
        const bool is_user_defined = kind == TokenKind::user_defined;
        if (!is_user_defined && kind != TokenKind::control && kind != TokenKind::unknown) continue;
        if (!vocabulary.text(token).empty()) entries_.push_back({vocabulary.text(token), token, is_user_defined});
    }
    std::sort(entries_.begin(), entries_.end(), [](const Entry& a, const Entry& b) { return a.text < b.text; });
    for (const Entry& entry : entries_) ++first_bytes_[static_cast<uint8_t>(entry.text[0]) + 1];
    for (size_t byte = 1; byte < first_bytes_.size(); ++byte) first_bytes_[byte] += first_bytes_[byte - 1];
}

std::optional<SpecialTokens::Match> SpecialTokens::find(std::string_view text, size_t from, Specials specials) const {
    if (entries_.empty()) return std::nullopt;
    for (size_t begin = from; begin < text.size(); ++begin) {
        const uint8_t byte = static_cast<uint8_t>(text[begin]);
        if (first_bytes_[byte] == first_bytes_[byte + 1]) continue;
        if (const auto match = match_at(text, begin, specials)) return match;
    }
    return std::nullopt;
}

std::optional<SpecialTokens::Match> SpecialTokens::match_at(std::string_view text, size_t begin,
                                                            Specials specials) const {
    const uint8_t first = static_cast<uint8_t>(text[begin]);
    auto low = entries_.begin() + first_bytes_[first];
    auto high = entries_.begin() + first_bytes_[first + 1];
    std::optional<Match> longest;
    // Here low to high are the entries that share the first `depth` bytes with the text.
    for (size_t depth = 1; low < high; ++depth) {
        if (low->text.size() == depth) {  // the shortest of them is the first
            if (specials == Specials::parse || low->is_user_defined) longest = {begin, begin + depth, low->token};
            ++low;
        }
        if (begin + depth == text.size()) break;
        const auto byte_of = [&](const Entry& entry) { return static_cast<uint8_t>(entry.text[depth]); };
        const uint8_t byte = static_cast<uint8_t>(text[begin + depth]);
        low = std::partition_point(low, high, [&](const Entry& entry) { return byte_of(entry) < byte; });
        high = std::partition_point(low, high, [&](const Entry& entry) { return byte_of(entry) == byte; });
    }
    return longest;
}

}  // namespace invar
