// jinja2 first writes every non-ASCII character of a literal as an escape and then reads it through Python's
// "unicode-escape" codec. This shows in one case: after a backslash before such a character, the escape stays as text.
#include "jinja/string_literal.h"

#include "jinja/characters.h"

namespace invar::jinja {

namespace {

int hex_value(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

Result<char32_t> read_hex(std::string_view literal, size_t& position, int digits) {
    char32_t value = 0;
    for (int i = 0; i < digits; ++i, ++position) {
        const int digit = position < literal.size() ? hex_value(literal[position]) : -1;
        if (digit < 0) return fail("an escape in this string needs {} hexadecimal digits", digits);
        value = value * 16 + static_cast<char32_t>(digit);
    }
    if (value > 0x10FFFF)
        return fail("an escape in this string names no character: {:#x}", static_cast<uint32_t>(value));
    if (value >= 0xD800 && value < 0xE000)
        return fail("an escape in this string names half a surrogate pair, {:#x}; write the whole character instead",
                    static_cast<uint32_t>(value));
    return value;
}

char simple_escape(char c) {
    constexpr std::string_view kLetters = "\\'\"abfnrtv";
    constexpr std::string_view kMeanings = "\\'\"\a\b\f\n\r\t\v";
    const size_t found = kLetters.find(c);
    return found == std::string_view::npos ? '\0' : kMeanings[found];
}

}  // namespace

Result<std::string> unescape(std::string_view literal) {
    std::string out;
    out.reserve(literal.size());
    for (size_t position = 0; position < literal.size();) {
        if (literal[position] != '\\' || position + 1 == literal.size()) {
            out.push_back(literal[position++]);
            continue;
        }
        const char escape = literal[position + 1];
        if (static_cast<unsigned char>(escape) >= 0x80) {
            ++position;
            const auto c = static_cast<uint32_t>(decode(literal, position));
            out += c < 0x100     ? fmt::format("\\x{:02x}", c)
                   : c < 0x10000 ? fmt::format("\\u{:04x}", c)
                                 : fmt::format("\\U{:08x}", c);
            continue;
        }
        position += 2;
        if (const char meaning = simple_escape(escape)) {
            out.push_back(meaning);
        } else if (escape == '\n') {
            continue;
        } else if (escape >= '0' && escape <= '7') {
            char32_t value = static_cast<char32_t>(escape - '0');
            for (int i = 0; i < 2 && position < literal.size() && literal[position] >= '0' && literal[position] <= '7';
                 ++i)
                value = value * 8 + static_cast<char32_t>(literal[position++] - '0');
            append_utf8(out, value);
        } else if (escape == 'x' || escape == 'u' || escape == 'U') {
            TRY_ASSIGN(const char32_t value, read_hex(literal, position, escape == 'x' ? 2 : escape == 'u' ? 4 : 8));
            append_utf8(out, value);
        } else if (escape == 'N') {
            return fail("the escape \\N{{name}} is not supported; write the character itself");
        } else {
            out.push_back('\\');
            out.push_back(escape);
        }
    }
    return out;
}

}  // namespace invar::jinja
