// Searches by narrowing a sorted list byte by byte (added_tokens.h).
#include "text/tokenizer/added_tokens.h"

#include <utf8proc.h>

#include <algorithm>

#include "text/tokenizer/pattern.h"
#include "text/tokenizer/utf8.h"

namespace invar {
namespace {

// Whether a character next to a token would make it a part of a word: letters, digits, marks, connectors and joiners.
bool is_of_word(char32_t c) {
    switch (utf8proc_category(static_cast<utf8proc_int32_t>(c))) {
        case UTF8PROC_CATEGORY_LU:
        case UTF8PROC_CATEGORY_LL:
        case UTF8PROC_CATEGORY_LT:
        case UTF8PROC_CATEGORY_LM:
        case UTF8PROC_CATEGORY_LO:
        case UTF8PROC_CATEGORY_NL:
        case UTF8PROC_CATEGORY_ND:
        case UTF8PROC_CATEGORY_MN:
        case UTF8PROC_CATEGORY_MC:
        case UTF8PROC_CATEGORY_ME:
        case UTF8PROC_CATEGORY_PC:
            return true;
        default:
            break;
    }
    return c == 0x200C || c == 0x200D || (c >= 0x24B6 && c <= 0x24E9) || (c >= 0x1F130 && c <= 0x1F149) ||
           (c >= 0x1F150 && c <= 0x1F169) || (c >= 0x1F170 && c <= 0x1F189);
}

// Where the character before `end` begins.
size_t character_before(std::string_view text, size_t end) {
    size_t begin = end - 1;
    while (begin > 0 && (text[begin] & 0xC0) == 0x80) --begin;
    return begin;
}

bool touches_word(std::string_view text, size_t begin, size_t end) {
    if (begin > 0 && is_of_word(read_utf8(text.substr(character_before(text, begin))).character)) return true;
    return end < text.size() && is_of_word(read_utf8(text.substr(end)).character);
}

size_t white_space_end(std::string_view text, size_t offset) {
    while (offset < text.size()) {
        const Utf8Step step = read_utf8(text.substr(offset));
        if (!is_white_space(step.character)) break;
        offset += step.bytes;
    }
    return offset;
}

size_t white_space_begin(std::string_view text, size_t offset, size_t at_least) {
    while (offset > at_least) {
        const size_t before = character_before(text, offset);
        if (!is_white_space(read_utf8(text.substr(before)).character)) break;
        offset = before;
    }
    return std::max(offset, at_least);
}

}  // namespace

AddedTokens::AddedTokens(std::vector<AddedToken> entries, Reading reading)
    : reading_(reading), entries_(std::move(entries)) {
    std::erase_if(entries_, [](const AddedToken& entry) { return entry.text.empty(); });
    std::stable_sort(entries_.begin(), entries_.end(),
                     [](const AddedToken& a, const AddedToken& b) { return a.text < b.text; });
    const auto same = [](const AddedToken& a, const AddedToken& b) { return a.text == b.text; };
    entries_.erase(std::unique(entries_.begin(), entries_.end(), same), entries_.end());
    for (const AddedToken& entry : entries_) ++first_bytes_[static_cast<uint8_t>(entry.text[0]) + 1u];
    for (size_t byte = 1; byte < first_bytes_.size(); ++byte) first_bytes_[byte] += first_bytes_[byte - 1];
}

AddedTokens AddedTokens::of_vocabulary(const Vocabulary& vocabulary) {
    std::vector<AddedToken> entries;
    std::vector<int32_t> strips = vocabulary.source().strip_after;
    std::sort(strips.begin(), strips.end());
    for (int32_t token = 0; token < vocabulary.size(); ++token) {
        const TokenKind kind = vocabulary.kind(token);
        if (kind != TokenKind::user_defined && kind != TokenKind::control && kind != TokenKind::unknown) continue;
        AddedToken entry;
        entry.text = vocabulary.text(token);
        entry.token = token;
        entry.special = kind != TokenKind::user_defined;
        entry.right_strip = std::binary_search(strips.begin(), strips.end(), token);
        entries.push_back(std::move(entry));
    }
    return AddedTokens(std::move(entries), Reading::gguf);
}

bool AddedTokens::counts(std::string_view text, const Match& match, Specials specials) const {
    if (specials == Specials::as_text && match.entry->special) return false;
    return !match.entry->single_word || !touches_word(text, match.begin, match.end);
}

void AddedTokens::cut(std::string_view text, Specials specials, std::vector<Segment>& segments) const {
    segments.clear();
    size_t done = 0;
    Span blank = {0, 0};  // white space whose end is known, because tokens that strip may share one run of it
    for (size_t from = 0; from < text.size();) {
        const auto match = find(text, from, specials);
        if (!match) break;
        from = match->end;
        if (reading_ == Reading::library && !counts(text, *match, specials)) continue;
        const AddedToken& entry = *match->entry;
        const size_t begin = entry.left_strip ? white_space_begin(text, match->begin, done) : match->begin;
        if (entry.right_strip && !(blank.begin <= match->end && match->end < blank.end)) {
            blank = {match->end, white_space_end(text, match->end)};
        }
        const size_t end = entry.right_strip ? blank.end : match->end;
        if (done < begin) segments.push_back({done, begin, -1});
        segments.push_back({begin, end, entry.token});
        done = end;
        if (reading_ == Reading::gguf) from = end;
    }
    if (done < text.size()) segments.push_back({done, text.size(), -1});
}

std::optional<AddedTokens::Match> AddedTokens::find(std::string_view text, size_t from, Specials specials) const {
    if (entries_.empty()) return std::nullopt;
    for (size_t begin = from; begin < text.size(); ++begin) {
        const uint8_t byte = static_cast<uint8_t>(text[begin]);
        if (first_bytes_[byte] == first_bytes_[byte + 1u]) continue;
        if (const auto match = match_at(text, begin, specials)) return match;
    }
    return std::nullopt;
}

size_t AddedTokens::longest_at(std::string_view text, size_t begin) const {
    const auto match = entries_.empty() ? std::nullopt : match_at(text, begin, Specials::parse);
    return match ? match->end - match->begin : 0;
}

std::optional<AddedTokens::Match> AddedTokens::match_at(std::string_view text, size_t begin, Specials specials) const {
    const uint8_t first = static_cast<uint8_t>(text[begin]);
    auto low = entries_.begin() + first_bytes_[first];
    auto high = entries_.begin() + first_bytes_[first + 1u];
    std::optional<Match> longest;
    // From `low` to `high` are the entries that share the first `depth` bytes with the text.
    for (size_t depth = 1; low < high; ++depth) {
        if (low->text.size() == depth) {  // the shortest of them comes first
            const Match match = {begin, begin + depth, &*low};
            if (reading_ == Reading::library || counts(text, match, specials)) longest = match;
            ++low;
        }
        if (begin + depth == text.size()) break;
        const auto byte_of = [&](const AddedToken& entry) { return static_cast<uint8_t>(entry.text[depth]); };
        const uint8_t byte = static_cast<uint8_t>(text[begin + depth]);
        low = std::lower_bound(low, high, byte, [&](const AddedToken& entry, uint8_t b) { return byte_of(entry) < b; });
        high =
            std::upper_bound(low, high, byte, [&](uint8_t b, const AddedToken& entry) { return b < byte_of(entry); });
    }
    return longest;
}

}  // namespace invar
