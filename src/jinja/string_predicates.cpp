// The is...() methods of str, which classify the characters of a string.
#include <algorithm>

#include "jinja/arguments.h"
#include "jinja/builtins.h"
#include "jinja/characters.h"
#include "jinja/string_predicates.h"

namespace invar::jinja {

namespace {

using Class = bool (*)(char32_t);

bool all_of(std::string_view text, Class is_in_class) {
    for (size_t position = 0; position < text.size();) {
        if (!is_in_class(decode(text, position))) return false;
    }
    return true;
}

template <Class is_in_class, bool when_empty = false>
Result<Value> all(Runtime& runtime, Arguments& arguments) {
    TRY_ASSIGN(const Bound bound, bind("str method", arguments, {""}));
    const std::string_view text = bound[0].text();
    TRY(runtime.step_bytes(static_cast<int64_t>(text.size())));
    return Value::boolean(text.empty() ? when_empty : all_of(text, is_in_class));
}

using Question = bool (*)(std::string_view);
template <Question question>
Result<Value> ask(Runtime& runtime, Arguments& arguments) {
    TRY_ASSIGN(const Bound bound, bind("str method", arguments, {""}));
    TRY(runtime.step_bytes(static_cast<int64_t>(bound[0].text().size())));
    return Value::boolean(question(bound[0].text()));
}

bool is_alnum(char32_t c) { return is_alpha(c) || is_numeric(c); }
bool is_ascii(char32_t c) { return c < 0x80; }

bool is_titled(std::string_view text) {
    bool inside_word = false, any = false;
    for (size_t position = 0; position < text.size();) {
        const char32_t c = decode(text, position);
        if (is_upper(c) || is_title(c)) {
            if (inside_word) return false;
            inside_word = any = true;
        } else if (is_lower(c)) {
            if (!inside_word) return false;
            any = true;
        } else {
            inside_word = false;
        }
    }
    return any;
}

bool is_identifier(std::string_view text) {
    size_t position = 0;
    if (text.empty() || !is_identifier_start(decode(text, position))) return false;
    return all_of(text.substr(position), is_identifier_part);
}

constexpr Builtin kPredicates[] = {
    {"isalpha", all<is_alpha>},       {"isdigit", all<is_digit>},
    {"isdecimal", all<is_decimal>},   {"isnumeric", all<is_numeric>},
    {"isalnum", all<is_alnum>},       {"isspace", all<is_space>},
    {"isascii", all<is_ascii, true>}, {"isprintable", all<is_printable, true>},
    {"islower", ask<is_lower_text>},  {"isupper", ask<is_upper_text>},
    {"istitle", ask<is_titled>},      {"isidentifier", ask<is_identifier>},
};

}  // namespace

bool is_lower_text(std::string_view text) {
    bool any = false;
    for (size_t position = 0; position < text.size();) {
        const char32_t c = decode(text, position);
        if (is_upper(c) || is_title(c)) return false;
        any = any || is_lower(c);
    }
    return any;
}

bool is_upper_text(std::string_view text) {
    bool any = false;
    for (size_t position = 0; position < text.size();) {
        const char32_t c = decode(text, position);
        if (is_lower(c) || is_title(c)) return false;
        any = any || is_upper(c);
    }
    return any;
}

std::span<const Builtin> string_predicates() { return kPredicates; }

}  // namespace invar::jinja
