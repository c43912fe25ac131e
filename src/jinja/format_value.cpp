// Formats one value by a specification: [[fill]align][sign][#][0][width][grouping][.precision][type].
#include <cmath>

#include "jinja/characters.h"
#include "jinja/numbers.h"
#include "jinja/operators.h"
#include "jinja/text.h"

namespace invar::jinja {

namespace {

struct Specification {
    std::string fill = " ";
    char align = '\0';
    char sign = '-';
    bool alternate = false;
    bool zero_filled = false;  // a 0 stands before the width: numbers are filled between the sign and the digits
    char grouping = '\0';
    int64_t width = 0;
    int precision = -1;
    char type = '\0';
};

Result<int64_t> read_count(std::string_view text, size_t& position) {
    int64_t value = 0;
    for (; position < text.size() && text[position] >= '0' && text[position] <= '9'; ++position) {
        value = value * 10 + (text[position] - '0');
        if (value > INT32_MAX) return fail("a width or precision of this format is too large");
    }
    return value;
}

Result<Specification> read_specification(std::string_view text) {
    const auto is_align = [](char c) { return c == '<' || c == '>' || c == '^' || c == '='; };
    Specification out;
    bool has_fill = false;
    size_t position = 0;
    if (!text.empty()) {
        size_t after_first = 0;
        decode(text, after_first);
        if (after_first < text.size() && is_align(text[after_first])) {
            out.fill = text.substr(0, after_first);
            has_fill = true;
            out.align = text[after_first];
            position = after_first + 1;
        } else if (is_align(text[0])) {
            out.align = text[0];
            position = 1;
        }
    }
    const auto at = [&](char c) { return position < text.size() && text[position] == c; };
    if (at('+') || at('-') || at(' ')) out.sign = text[position++];
    if (at('#')) out.alternate = true, ++position;
    if (at('0')) {
        if (!has_fill) out.fill = "0";
        out.zero_filled = out.align == '\0';
        ++position;
    }
    TRY_ASSIGN(out.width, read_count(text, position));
    if (at(',') || at('_')) out.grouping = text[position++];
    if (at('.')) {
        ++position;
        const size_t begin = position;
        TRY_ASSIGN(const int64_t precision, read_count(text, position));
        if (position == begin) return fail("the format '{}' has no precision after '.'", text);
        if (precision > 1000) return fail("the format '{}' has a precision beyond 1000", text);
        out.precision = static_cast<int>(precision);
    }
    if (out.grouping != '\0' && out.width > 1000) return fail("the format '{}' groups more than 1000 digits", text);
    if (position < text.size()) out.type = text[position++];
    if (position != text.size()) return fail("'{}' is not a format specification", text);
    return out;
}

// `sign` and prefix go before a fill aligned with '='.
Result<std::string> pad(Runtime& runtime, const Specification& format, char default_align, const std::string& sign,
                        const std::string& body) {
    const bool after_sign = format.zero_filled && default_align == '>';
    const char align = after_sign ? '=' : format.align == '\0' ? default_align : format.align;
    const int64_t length = count_characters(sign) + count_characters(body);
    const int64_t missing = std::max<int64_t>(0, format.width - length);
    TRY(runtime.reserve(missing * static_cast<int64_t>(format.fill.size())));
    const auto filling = [&](int64_t count) {
        std::string out;
        for (int64_t i = 0; i < count; ++i) out += format.fill;
        return out;
    };
    switch (align) {
        case '<':
            return sign + body + filling(missing);
        case '^':
            return filling(missing / 2) + sign + body + filling(missing - missing / 2);
        case '=':
            return sign + filling(missing) + body;
        default:
            return filling(missing) + sign + body;
    }
}

// Groups the digits before the point; with zero filling the zeros are grouped too.
std::string grouped(const std::string& digits, const Specification& format, size_t sign_size) {
    if (format.grouping == '\0') return digits;
    const size_t step = format.type == 'x' || format.type == 'X' || format.type == 'o' || format.type == 'b' ? 4 : 3;
    const size_t whole = std::min(digits.find_first_not_of("0123456789abcdefABCDEF"), digits.size());
    std::string head = digits.substr(0, whole);
    const std::string tail = digits.substr(whole);
    const auto with_separators = [&](const std::string& text) {
        std::string out;
        for (size_t i = 0; i < text.size(); ++i) {
            if (i != 0 && (text.size() - i) % step == 0) out.push_back(format.grouping);
            out.push_back(text[i]);
        }
        return out;
    };
    std::string out = with_separators(head);
    const bool zero_filled = format.zero_filled || (format.align == '=' && format.fill == "0");
    while (zero_filled && static_cast<int64_t>(out.size() + tail.size() + sign_size) < format.width) {
        head.insert(0, "0");
        out = with_separators(head);
    }
    return out + tail;
}

std::string sign_text(bool is_negative, char mode) {
    return is_negative ? "-" : mode == '-' ? "" : std::string(1, mode);
}

std::string in_base(uint64_t value, int base, bool upper_case) {
    std::string out;
    do {
        const int digit = static_cast<int>(value % static_cast<uint64_t>(base));
        out.insert(out.begin(), static_cast<char>(digit < 10 ? '0' + digit : (upper_case ? 'A' : 'a') + digit - 10));
        value /= static_cast<uint64_t>(base);
    } while (value != 0);
    return out;
}

// Without a type, %g with at least one digit after the point, and an exponent one digit earlier (CPython's repr style).
std::string general_text(double magnitude, int precision) {
    std::string scientific = float_text(magnitude, 'e', precision - 1);
    const size_t e = scientific.find('e');
    if (!std::isfinite(magnitude) || e == std::string::npos) return scientific;
    const int exponent = std::stoi(scientific.substr(e + 1));
    if (exponent >= -4 && exponent < precision - 1) {
        std::string text = float_text(magnitude, 'g', precision);
        return text.find('.') == std::string::npos ? text + ".0" : text;
    }
    size_t end = e;
    if (scientific.find('.') < e) {
        while (scientific[end - 1] == '0') --end;
        if (scientific[end - 1] == '.') --end;
    }
    return scientific.erase(end, e - end);
}

Result<std::string> format_real(Runtime& runtime, double value, const Specification& format) {
    const bool is_negative = std::signbit(value) && !std::isnan(value);
    const double magnitude = std::fabs(value);
    if (format.alternate) return fail("the format flag '#' is not supported for numbers with a fraction");
    std::string digits;
    switch (format.type) {
        case '\0':
            if (format.precision < 0) {
                digits = float_text(magnitude);
            } else {
                digits = general_text(magnitude, std::max(1, format.precision));
            }
            break;
        case 'f':
        case 'F':
        case 'e':
        case 'E':
            digits = float_text(magnitude, format.type, format.precision < 0 ? 6 : format.precision);
            break;
        case 'g':
        case 'G':
        case 'n': {
            const char type = format.type == 'n' ? 'g' : format.type;
            digits = float_text(magnitude, type, format.precision < 0 ? 6 : std::max(1, format.precision));
            break;
        }
        case '%':
            digits = float_text(magnitude * 100, 'f', format.precision < 0 ? 6 : format.precision) + "%";
            break;
        default:
            return fail("the format type '{}' is not for a float", format.type);
    }
    const std::string sign = sign_text(is_negative, format.sign);
    return pad(runtime, format, '>', sign, grouped(digits, format, sign.size()));
}

Result<std::string> format_integer(Runtime& runtime, int64_t value, const Specification& format) {
    const bool is_negative = value < 0;
    const uint64_t magnitude = is_negative ? 0 - static_cast<uint64_t>(value) : static_cast<uint64_t>(value);
    if (format.type != '\0' && std::string_view("eEfFgG%").find(format.type) != std::string_view::npos)
        return format_real(runtime, static_cast<double>(value), format);
    if (format.precision >= 0) return fail("a precision is not allowed for an integer");
    std::string digits, prefix;
    switch (format.type) {
        case '\0':
        case 'd':
        case 'n':
            digits = std::to_string(magnitude);
            break;
        case 'b':
            digits = in_base(magnitude, 2, false), prefix = "0b";
            break;
        case 'o':
            digits = in_base(magnitude, 8, false), prefix = "0o";
            break;
        case 'x':
            digits = in_base(magnitude, 16, false), prefix = "0x";
            break;
        case 'X':
            digits = in_base(magnitude, 16, true), prefix = "0X";
            break;
        case 'c':
            if (value < 0 || value > 0x10FFFF || (value >= 0xD800 && value < 0xE000))
                return fail("{} is not a character", value);
            append_utf8(digits, static_cast<char32_t>(value));
            return pad(runtime, format, '<', "", digits);
        default:
            return fail("the format type '{}' is not for an integer", format.type);
    }
    const std::string sign = sign_text(is_negative, format.sign) + (format.alternate ? prefix : "");
    return pad(runtime, format, '>', sign, grouped(digits, format, sign.size()));
}

}  // namespace

Result<std::string> format_value(Runtime& runtime, const Value& value, std::string_view specification) {
    if (specification.empty()) return to_text(runtime, value);
    TRY_ASSIGN(const Specification format, read_specification(specification));
    if (value.is(Kind::kInteger) || (value.is(Kind::kBool) && format.type != '\0'))
        return format_integer(runtime, value.as_integer(), format);
    if (value.is(Kind::kFloat)) return format_real(runtime, value.as_real(), format);
    if (value.is(Kind::kBool)) return format_integer(runtime, value.as_integer(), format);
    if (!value.is(Kind::kString)) return fail("a {} takes no format specification", type_name(value));
    if ((format.type != '\0' && format.type != 's') || format.align == '=' || format.sign != '-' || format.alternate ||
        format.grouping != '\0')
        return fail("the format '{}' is not for a string", specification);
    std::string_view text = value.text();
    if (format.precision >= 0) text = text.substr(0, offset_of(text, format.precision));
    return pad(runtime, format, '<', "", std::string(text));
}

}  // namespace invar::jinja
