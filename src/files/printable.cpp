// Escapes untrusted text: see printable.h.
// The UTF-8 rules are table 3-7 of the Unicode standard.
#include "files/printable.h"

#include <fmt/format.h>

#include <cstdint>

namespace invar {

namespace {

// Length of the well-formed UTF-8 sequence at the start of `text`, 0 if there is none.
size_t utf8_length(std::string_view text) {
    const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
    const auto continues = [&](size_t i, uint8_t low = 0x80, uint8_t high = 0xBF) {
        return i < text.size() && byte(i) >= low && byte(i) <= high;
    };
    if (text.empty()) return 0;
    const uint8_t lead = byte(0);
    if (lead < 0x80) return 1;
    if (lead >= 0xC2 && lead <= 0xDF) return continues(1) ? 2 : 0;
    if (lead >= 0xE0 && lead <= 0xEF) {
        const uint8_t low = lead == 0xE0 ? 0xA0 : 0x80;   // no overlong forms
        const uint8_t high = lead == 0xED ? 0x9F : 0xBF;  // no surrogates
        return continues(1, low, high) && continues(2) ? 3 : 0;
    }
    if (lead >= 0xF0 && lead <= 0xF4) {
        const uint8_t low = lead == 0xF0 ? 0x90 : 0x80;
        const uint8_t high = lead == 0xF4 ? 0x8F : 0xBF;  // nothing above U+10FFFF
        return continues(1, low, high) && continues(2) && continues(3) ? 4 : 0;
    }
    return 0;
}

}  // namespace

bool is_utf8(std::string_view text) {
    while (!text.empty()) {
        const size_t length = utf8_length(text);
        if (length == 0) return false;
        text.remove_prefix(length);
    }
    return true;
}

std::string printable(std::string_view text, size_t most_bytes) {
    std::string shown;
    size_t used = 0;
    while (used < text.size()) {
        const std::string_view rest = text.substr(used);
        const size_t length = utf8_length(rest);
        const size_t step = length == 0 ? 1 : length;
        if (used + step > most_bytes) return shown + "...";
        const auto lead = static_cast<uint8_t>(rest[0]);
        // U+0080 to U+009F are control characters as well: some terminals obey them.
        const bool control =
            lead < 0x20 || lead == 0x7F || (length == 2 && lead == 0xC2 && static_cast<uint8_t>(rest[1]) < 0xA0);
        if (length == 0 || control) {
            for (size_t i = 0; i < step; ++i) shown += fmt::format("\\x{:02x}", static_cast<uint8_t>(rest[i]));
        } else {
            shown += rest.substr(0, step);
        }
        used += step;
    }
    return shown;
}

}  // namespace invar
