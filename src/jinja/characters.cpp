// Character classes come from utf8proc's categories, the rest from character_tables.cpp. Case mapping follows Python:
// full mappings ("ß" becomes "SS") and the final form of sigma.
#include "jinja/characters.h"

#include <string.h>
#include <utf8proc.h>

#include <algorithm>

#include "jinja/character_tables.h"

namespace invar::jinja {

namespace {

utf8proc_category_t category(char32_t c) { return utf8proc_category(static_cast<utf8proc_int32_t>(c)); }

template <class Table>
bool in_ranges(const Table& table, char32_t c) {
    const auto after =
        std::upper_bound(table.begin(), table.end(), c, [](char32_t x, const CodeRange& r) { return x < r.first; });
    return after != table.begin() && c <= std::prev(after)->last;
}

template <class Table>
const CaseExpansion* expansion(const Table& table, char32_t c) {
    const auto found = std::lower_bound(table.begin(), table.end(), c,
                                        [](const CaseExpansion& row, char32_t x) { return row.code_point < x; });
    return found != table.end() && found->code_point == c ? &*found : nullptr;
}

void append_expansion(std::string& out, const CaseExpansion& row) {
    for (const char32_t c : row.becomes) {
        if (c != 0) append_utf8(out, c);
    }
}

void append_upper(std::string& out, char32_t c) {
    if (c < 0x80) {
        out.push_back(c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : static_cast<char>(c));
    } else if (const CaseExpansion* row = expansion(kUpperExpansions, c)) {
        append_expansion(out, *row);
    } else {
        append_utf8(out, static_cast<char32_t>(utf8proc_toupper(static_cast<utf8proc_int32_t>(c))));
    }
}

void append_title(std::string& out, char32_t c) {
    if (const CaseExpansion* row = expansion(kTitleExpansions, c)) {
        append_expansion(out, *row);
    } else {
        append_utf8(out, static_cast<char32_t>(utf8proc_totitle(static_cast<utf8proc_int32_t>(c))));
    }
}

bool is_case_ignorable(char32_t c) {
    constexpr char32_t kPunctuation[] = {0x27,   0x2E,   0x3A,   0xB7,   0x387,  0x55F,  0x5F4,  0x2018, 0x2019,
                                         0x2024, 0x2027, 0xFE13, 0xFE52, 0xFE55, 0xFF07, 0xFF0E, 0xFF1A};
    switch (category(c)) {
        case UTF8PROC_CATEGORY_MN:
        case UTF8PROC_CATEGORY_ME:
        case UTF8PROC_CATEGORY_CF:
        case UTF8PROC_CATEGORY_LM:
        case UTF8PROC_CATEGORY_SK:
            return true;
        default:
            return std::find(std::begin(kPunctuation), std::end(kPunctuation), c) != std::end(kPunctuation);
    }
}

// Whether the sigma at `begin` ends a word: a cased letter precedes it and none follows, ignoring case-ignorable
// characters.
bool is_final_sigma(std::string_view text, size_t begin, size_t end) {
    size_t position = begin;
    bool cased_before = false;
    while (position > 0) {
        position = previous(text, position);
        size_t scan = position;
        const char32_t c = decode(text, scan);
        if (is_case_ignorable(c)) continue;
        cased_before = is_cased(c);
        break;
    }
    if (!cased_before) return false;
    while (end < text.size()) {
        const char32_t c = decode(text, end);
        if (!is_case_ignorable(c)) return !is_cased(c);
    }
    return true;
}

constexpr char32_t kCapitalSigma = 0x3A3, kFinalSigma = 0x3C2, kSmallSigma = 0x3C3, kCapitalIWithDot = 0x130;

void append_lower(std::string& out, std::string_view text, size_t begin, size_t end, char32_t c) {
    if (c < 0x80) {
        out.push_back(c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : static_cast<char>(c));
    } else if (c == kCapitalSigma) {
        append_utf8(out, is_final_sigma(text, begin, end) ? kFinalSigma : kSmallSigma);
    } else if (c == kCapitalIWithDot) {
        out += "i\xCC\x87";
    } else {
        append_utf8(out, static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c))));
    }
}

}  // namespace

bool is_valid_utf8(std::string_view text) {
    const auto* bytes = reinterpret_cast<const utf8proc_uint8_t*>(text.data());
    for (size_t position = 0; position < text.size();) {
        if (bytes[position] < 0x80) {
            ++position;
            continue;
        }
        utf8proc_int32_t c;
        const auto size = utf8proc_iterate(bytes + position, static_cast<utf8proc_ssize_t>(text.size() - position), &c);
        if (size <= 0) return false;
        position += static_cast<size_t>(size);
    }
    return true;
}

char32_t decode(std::string_view text, size_t& position) {
    const auto byte = [&](size_t i) { return static_cast<char32_t>(static_cast<unsigned char>(text[position + i])); };
    const char32_t first = byte(0);
    char32_t c;
    if (first < 0x80) {
        c = first;
        position += 1;
    } else if (first < 0xE0) {
        c = (first & 0x1F) << 6 | (byte(1) & 0x3F);
        position += 2;
    } else if (first < 0xF0) {
        c = (first & 0x0F) << 12 | (byte(1) & 0x3F) << 6 | (byte(2) & 0x3F);
        position += 3;
    } else {
        c = (first & 0x07) << 18 | (byte(1) & 0x3F) << 12 | (byte(2) & 0x3F) << 6 | (byte(3) & 0x3F);
        position += 4;
    }
    return c;
}

size_t previous(std::string_view text, size_t position) {
    do --position;
    while ((static_cast<unsigned char>(text[position]) & 0xC0) == 0x80);
    return position;
}

void append_utf8(std::string& text, char32_t c) {
    const auto put = [&](char32_t byte) { text.push_back(static_cast<char>(byte)); };
    if (c < 0x80) {
        put(c);
    } else if (c < 0x800) {
        put(0xC0 | c >> 6), put(0x80 | (c & 0x3F));
    } else if (c < 0x10000) {
        put(0xE0 | c >> 12), put(0x80 | (c >> 6 & 0x3F)), put(0x80 | (c & 0x3F));
    } else {
        put(0xF0 | c >> 18), put(0x80 | (c >> 12 & 0x3F)), put(0x80 | (c >> 6 & 0x3F)), put(0x80 | (c & 0x3F));
    }
}

int64_t count_characters(std::string_view text) {
    return std::count_if(text.begin(), text.end(),
                         [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; });
}

size_t offset_of(std::string_view text, int64_t index) {
    size_t position = 0;
    while (index > 0 && position < text.size()) {
        ++position;
        while (position < text.size() && (static_cast<unsigned char>(text[position]) & 0xC0) == 0x80) ++position;
        --index;
    }
    return position;
}

size_t find_bytes(std::string_view text, std::string_view wanted, size_t from) {
    if (from > text.size()) return std::string_view::npos;
    if (wanted.empty()) return from;
    // memmem is linear in the sizes; std::string_view::find may take their product.
    const void* found = memmem(text.data() + from, text.size() - from, wanted.data(), wanted.size());
    return found == nullptr ? std::string_view::npos
                            : static_cast<size_t>(static_cast<const char*>(found) - text.data());
}

size_t rfind_bytes(std::string_view text, std::string_view wanted) {
    if (wanted.size() <= 1 || wanted.size() > text.size()) return text.rfind(wanted);
    const std::string reversed_text(text.rbegin(), text.rend()), reversed_wanted(wanted.rbegin(), wanted.rend());
    const size_t found = find_bytes(reversed_text, reversed_wanted);
    return found == std::string_view::npos ? found : text.size() - found - wanted.size();
}

bool is_space(char32_t c) {
    return (c >= 9 && c <= 13) || (c >= 28 && c <= 32) || c == 0x85 || c == 0xA0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

bool is_alpha(char32_t c) {
    const auto k = category(c);
    return k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_LO;
}

bool is_decimal(char32_t c) { return category(c) == UTF8PROC_CATEGORY_ND; }
bool is_digit(char32_t c) { return is_decimal(c) || in_ranges(kOtherDigits, c); }

bool is_numeric(char32_t c) {
    const auto k = category(c);
    return (k >= UTF8PROC_CATEGORY_ND && k <= UTF8PROC_CATEGORY_NO) || in_ranges(kOtherNumerals, c);
}

bool is_lower(char32_t c) { return category(c) == UTF8PROC_CATEGORY_LL || in_ranges(kOtherLower, c); }
bool is_upper(char32_t c) { return category(c) == UTF8PROC_CATEGORY_LU || in_ranges(kOtherUpper, c); }
bool is_title(char32_t c) { return category(c) == UTF8PROC_CATEGORY_LT; }
bool is_cased(char32_t c) { return is_lower(c) || is_upper(c) || is_title(c); }

bool is_printable(char32_t c) {
    switch (category(c)) {
        case UTF8PROC_CATEGORY_CC:
        case UTF8PROC_CATEGORY_CF:
        case UTF8PROC_CATEGORY_CS:
        case UTF8PROC_CATEGORY_CO:
        case UTF8PROC_CATEGORY_CN:
        case UTF8PROC_CATEGORY_ZL:
        case UTF8PROC_CATEGORY_ZP:
            return false;
        case UTF8PROC_CATEGORY_ZS:
            return c == ' ';
        default:
            return true;
    }
}

bool is_identifier_start(char32_t c) { return c == '_' || is_alpha(c) || category(c) == UTF8PROC_CATEGORY_NL; }

bool is_identifier_part(char32_t c) {
    const auto k = category(c);
    return is_identifier_start(c) || is_decimal(c) || k == UTF8PROC_CATEGORY_MN || k == UTF8PROC_CATEGORY_MC ||
           k == UTF8PROC_CATEGORY_PC;
}

std::string upper(std::string_view text) {
    std::string out;
    out.reserve(text.size());
    for (size_t position = 0; position < text.size();) append_upper(out, decode(text, position));
    return out;
}

std::string lower(std::string_view text) {
    std::string out;
    out.reserve(text.size());
    for (size_t position = 0; position < text.size();) {
        const size_t begin = position;
        const char32_t c = decode(text, position);
        append_lower(out, text, begin, position, c);
    }
    return out;
}

std::string capitalize(std::string_view text) {
    std::string out;
    out.reserve(text.size());
    for (size_t position = 0; position < text.size();) {
        const size_t begin = position;
        const char32_t c = decode(text, position);
        if (begin == 0) {
            append_title(out, c);
        } else {
            append_lower(out, text, begin, position, c);
        }
    }
    return out;
}

std::string title(std::string_view text) {
    std::string out;
    out.reserve(text.size());
    bool inside_word = false;
    for (size_t position = 0; position < text.size();) {
        const size_t begin = position;
        const char32_t c = decode(text, position);
        if (inside_word) {
            append_lower(out, text, begin, position, c);
        } else {
            append_title(out, c);
        }
        inside_word = is_cased(c);
    }
    return out;
}

std::string swap_case(std::string_view text) {
    std::string out;
    out.reserve(text.size());
    for (size_t position = 0; position < text.size();) {
        const size_t begin = position;
        const char32_t c = decode(text, position);
        if (is_upper(c)) {
            append_lower(out, text, begin, position, c);
        } else if (is_lower(c)) {
            append_upper(out, c);
        } else {
            append_utf8(out, c);
        }
    }
    return out;
}

std::string_view strip_left(std::string_view text) {
    for (size_t position = 0; position < text.size();) {
        const size_t begin = position;
        if (!is_space(decode(text, position))) return text.substr(begin);
    }
    return {};
}

std::string_view strip_right(std::string_view text) {
    while (!text.empty()) {
        const size_t begin = previous(text, text.size());
        size_t position = begin;
        if (!is_space(decode(text, position))) break;
        text = text.substr(0, begin);
    }
    return text;
}

}  // namespace invar::jinja
