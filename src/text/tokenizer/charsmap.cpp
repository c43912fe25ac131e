// Steps through the trie with every index checked, because a file may hold anything (charsmap.h).
#include "text/tokenizer/charsmap.h"

#include <cstring>

#include "text/tokenizer/utf8.h"

namespace invar {
namespace {

constexpr size_t kMostBytes = size_t{1} << 26;  // those in use have 240 KiB

// The fields of a unit of the trie.
uint32_t offset_of(uint32_t unit) { return (unit >> 10) << ((unit & 0x200) >> 6); }
uint32_t label_of(uint32_t unit) { return unit & 0x800000FF; }
bool has_leaf(uint32_t unit) { return unit & 0x100; }

uint32_t unit_at(std::string_view bytes, size_t index) {
    uint32_t unit = 0;
    for (int i = 3; i >= 0; --i) unit = unit << 8 | static_cast<uint8_t>(bytes[index * 4 + static_cast<size_t>(i)]);
    return unit;
}

}  // namespace

Result<Charsmap> Charsmap::read(std::string_view bytes) {
    if (bytes.size() > kMostBytes)
        return fail("the charsmap has {} bytes, at most {} are supported", bytes.size(), kMostBytes);
    if (bytes.size() < 4) return fail("the charsmap has {} bytes, its header alone has 4", bytes.size());
    const size_t trie_bytes = unit_at(bytes, 0);
    bytes.remove_prefix(4);
    if (trie_bytes > bytes.size() || trie_bytes % 4 != 0 || trie_bytes == 0) {
        return fail("the charsmap's trie has {} bytes, but {} follow its header", trie_bytes, bytes.size());
    }
    Charsmap map;
    map.units_.resize(trie_bytes / 4);
    for (size_t i = 0; i < map.units_.size(); ++i) map.units_[i] = unit_at(bytes, i);
    map.texts_ = bytes.substr(trie_bytes);
    if (const auto offset = find_invalid_utf8(map.texts_)) {
        return fail("the charsmap's texts are not valid UTF-8 at their byte {}", *offset);
    }
    return map;
}

std::optional<Charsmap::Match> Charsmap::find(std::string_view text, bool shortest) const {
    std::optional<Match> match;
    size_t node = offset_of(units_[0]);
    for (size_t depth = 0; depth < text.size(); ++depth) {
        const auto byte = static_cast<uint8_t>(text[depth]);
        if (byte == 0) break;
        node ^= byte;
        if (node >= units_.size() || label_of(units_[node]) != byte) break;
        const uint32_t unit = units_[node];
        node ^= offset_of(unit);
        if (!has_leaf(unit)) continue;
        if (node >= units_.size()) break;
        const size_t place = units_[node] & 0x7FFFFFFF;
        // A text that starts inside a character would not be UTF-8.
        if (place > texts_.size() || (place < texts_.size() && (texts_[place] & 0xC0) == 0x80)) break;
        match = {depth + 1,
                 std::string_view(texts_).substr(place, std::min(texts_.find('\0', place), texts_.size()) - place)};
        if (shortest) break;
    }
    // Replacing a part of a character would leave the rest of it.
    if (match && match->bytes < text.size() && (text[match->bytes] & 0xC0) == 0x80) return std::nullopt;
    return match;
}

}  // namespace invar
