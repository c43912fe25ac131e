// Filters that turn a value into text. tojson is that of Hugging Face: json.dumps without any escaping for HTML.
#include <algorithm>

#include "jinja/arguments.h"
#include "jinja/builtins.h"
#include "jinja/characters.h"
#include "jinja/compare.h"
#include "jinja/iterate.h"
#include "jinja/operators.h"
#include "jinja/string_predicates.h"
#include "jinja/text.h"

namespace invar::jinja {

namespace {

// A string stays as it is (also a Markup); any other value is written as str() does.
Result<Value> soft_string(Runtime& runtime, const Value& value) {
    if (value.is(Kind::kString)) return value;
    TRY_ASSIGN(std::string text, to_text(runtime, value));
    return runtime.string(std::move(text));
}

Result<Value> call_method(Runtime& runtime, std::string_view name, Arguments arguments) {
    TRY_ASSIGN(arguments.positional[0], soft_string(runtime, arguments.positional[0]));
    return find_string_method(name)->run(runtime, arguments);
}

Result<Value> upper_filter(Runtime& runtime, Arguments& arguments) {
    return call_method(runtime, "upper", std::move(arguments));
}
Result<Value> lower_filter(Runtime& runtime, Arguments& arguments) {
    return call_method(runtime, "lower", std::move(arguments));
}
Result<Value> capitalize_filter(Runtime& runtime, Arguments& arguments) {
    return call_method(runtime, "capitalize", std::move(arguments));
}

Result<Value> title_filter(Runtime& runtime, Arguments& arguments) {
    TRY_ASSIGN(const Bound bound, bind("title", arguments, {"s"}));
    TRY_ASSIGN(const std::string text, to_text(runtime, bound[0]));
    TRY(runtime.reserve(static_cast<int64_t>(text.size())));
    // A word begins after white space or one of -({[< ; only its first letter is upper case.
    std::string out, word;
    const auto finish_word = [&] {
        if (word.empty()) return;
        const size_t first = offset_of(word, 1);
        out += upper(std::string_view(word).substr(0, first)) + lower(std::string_view(word).substr(first));
        word.clear();
    };
    for (size_t position = 0; position < text.size();) {
        const size_t begin = position;
        const char32_t c = decode(text, position);
        const bool separates = is_space(c) || c == '-' || c == '(' || c == '{' || c == '[' || c == '<';
        if (separates) finish_word();
        (separates ? out : word).append(text, begin, position - begin);
    }
    finish_word();
    return runtime.string(std::move(out));
}

Result<Value> trim(Runtime& runtime, Arguments& arguments) {
    TRY_ASSIGN(const Bound bound, bind("trim", arguments, {"value", "chars"}));
    return call_method(runtime, "strip", {{bound[0], bound.is_none(1) ? Value::none() : bound[1]}, {}});
}

Result<Value> replace_filter(Runtime& runtime, Arguments& arguments) {
    TRY_ASSIGN(const Bound bound, bind("replace", arguments, {"s", "old", "new", "count"}, 3));
    std::string parts[3];
    for (size_t i = 0; i < 3; ++i) {
        TRY_ASSIGN(parts[i], to_text(runtime, bound[i]));
    }
    int64_t count = -1;
    if (!bound.is_none(3)) {
        TRY_ASSIGN(count, bound.integer(3, -1));
    }
    return replaced(runtime, parts[0], parts[1], parts[2], count, false);
}

Result<Value> string_filter(Runtime& runtime, Arguments& arguments) {
    TRY_ASSIGN(const Bound bound, bind("string", arguments, {"s"}));
    return soft_string(runtime, bound[0]);
}

Result<Value> safe(Runtime& runtime, Arguments& arguments) {
    TRY_ASSIGN(const Bound bound, bind("safe", arguments, {"value"}));
    if (bound[0].is_markup()) return bound[0];
    TRY_ASSIGN(std::string text, to_text(runtime, bound[0]));
    return runtime.string(std::move(text), true);
}

Result<Value> escape(Runtime& runtime, Arguments& arguments) {
    TRY_ASSIGN(const Bound bound, bind("escape", arguments, {"s"}));
    return to_markup(runtime, bound[0]);
}

Result<Value> force_escape(Runtime& runtime, Arguments& arguments) {
    TRY_ASSIGN(const Bound bound, bind("forceescape", arguments, {"value"}));
    TRY_ASSIGN(const std::string text, to_text(runtime, bound[0]));
    TRY(runtime.reserve(static_cast<int64_t>(text.size())));
    return runtime.string(escape_html(text), true);
}

Result<Value> indent(Runtime& runtime, Arguments& arguments) {
    TRY_ASSIGN(const Bound bound, bind("indent", arguments, {"s", "width", "first", "blank"}));
    TRY_ASSIGN(const std::string_view text, bound.text(0, ""));
    std::string indentation;
    if (bound.has(1) && bound[1].is(Kind::kString)) {
        indentation = bound[1].text();
    } else {
        TRY_ASSIGN(const int64_t width, bound.integer(1, 4));
        TRY(runtime.reserve(std::max<int64_t>(width, 0)));
        indentation.assign(static_cast<size_t>(std::max<int64_t>(width, 0)), ' ');
    }
    const bool blank = bound.is_true(3, false);
    Text out(runtime);
    if (bound.is_true(2, false)) TRY(out.append(indentation));
    const std::string closed = std::string(text) + "\n";
    const auto lines = lines_of(closed, false);
    for (size_t i = 0; i < lines.size(); ++i) {
        if (i != 0) TRY(out.append("\n"));
        if (i != 0 && (blank || !lines[i].empty())) TRY(out.append(indentation));
        TRY(out.append(lines[i]));
    }
    return runtime.string(out.take(), bound[0].is_markup());
}

Result<Value> center(Runtime& runtime, Arguments& arguments) {
    TRY_ASSIGN(const Bound bound, bind("center", arguments, {"value", "width"}));
    return call_method(runtime, "center", {{bound[0], bound.has(1) ? bound[1] : Value::integer(80)}, {}});
}

Result<Value> truncate(Runtime& runtime, Arguments& arguments) {
    TRY_ASSIGN(const Bound bound, bind("truncate", arguments, {"s", "length", "killwords", "end", "leeway"}));
    TRY_ASSIGN(const int64_t length, bound.integer(1, 255));
    TRY_ASSIGN(const std::string_view end, bound.text(3, "..."));
    int64_t leeway = 5;
    if (!bound.is_none(4)) {
        TRY_ASSIGN(leeway, bound.integer(4, 5));
    }
    const int64_t end_length = count_characters(end);
    if (length < end_length)
        return fail("truncate() to {} characters leaves no room for its end of {}", length, end_length);
    if (leeway < 0) return fail("truncate() needs a leeway of at least 0, not {}", leeway);
    TRY_ASSIGN(const int64_t given, length_of(runtime, bound[0]));
    if (given - leeway <= length) return bound[0];  // the value may be of any type that has a length, as in Python
    TRY_ASSIGN(const std::string_view text, bound.text(0, ""));
    std::string_view kept = text.substr(0, offset_of(text, length - end_length));
    if (!bound.is_true(2, false)) kept = kept.substr(0, kept.rfind(' '));
    return runtime.string(std::string(kept) + std::string(end));
}

Result<Value> word_count(Runtime& runtime, Arguments& arguments) {
    TRY_ASSIGN(const Bound bound, bind("wordcount", arguments, {"s"}));
    TRY_ASSIGN(const std::string text, to_text(runtime, bound[0]));
    int64_t words = 0;
    bool inside = false;
    for (size_t position = 0; position < text.size();) {
        const char32_t c = decode(text, position);
        const bool is_word = c == '_' || is_alpha(c) || is_numeric(c);
        words += is_word && !inside ? 1 : 0;
        inside = is_word;
    }
    return Value::integer(words);
}

std::string url_quoted(std::string_view text, bool for_query) {
    constexpr std::string_view kSafe = "_.-~";
    std::string out;
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        const bool is_plain = (byte < 0x80 && std::isalnum(byte) != 0) || kSafe.find(c) != std::string_view::npos;
        if (is_plain || (c == '/' && !for_query)) {
            out.push_back(c);
        } else if (c == ' ' && for_query) {
            out.push_back('+');
        } else {
            out += fmt::format("%{:02X}", byte);
        }
    }
    return out;
}

Result<Value> url_encode(Runtime& runtime, Arguments& arguments) {
    TRY_ASSIGN(const Bound bound, bind("urlencode", arguments, {"value"}));
    Value value = bound[0];
    if (value.is(Kind::kString) || !is_iterable(value)) {
        TRY_ASSIGN(const std::string text, to_text(runtime, value));
        TRY(runtime.reserve(3 * static_cast<int64_t>(text.size())));
        return runtime.string(url_quoted(text, false));
    }
    if (value.is(Kind::kDict)) value = Value(runtime.heap().make<View>(0, value, ViewOf::kItems));
    TRY_ASSIGN(const std::vector<Value> pairs, to_vector(runtime, value));
    Text out(runtime);
    for (size_t i = 0; i < pairs.size(); ++i) {
        TRY_ASSIGN(const std::vector<Value> pair, to_vector(runtime, pairs[i]));
        if (pair.size() != 2) return fail("urlencode() needs pairs, not {} values", pair.size());
        TRY_ASSIGN(const std::string key, to_text(runtime, pair[0]));
        TRY_ASSIGN(const std::string text, to_text(runtime, pair[1]));
        if (i != 0) TRY(out.append("&"));
        TRY(out.append(url_quoted(key, true)));
        TRY(out.append("="));
        TRY(out.append(url_quoted(text, true)));
    }
    return runtime.string(out.take());
}

Result<Value> format_filter(Runtime& runtime, Arguments& arguments) {
    TRY_ASSIGN(const Value format, soft_string(runtime, arguments.positional.at(0)));
    if (arguments.keywords.empty()) {
        TRY_ASSIGN(const Value values, runtime.tuple({arguments.positional.begin() + 1, arguments.positional.end()}));
        return percent_format(runtime, format, values);
    }
    if (arguments.positional.size() > 1) return fail("format() takes values by position or by name, not both");
    Value values = runtime.dict();
    for (const auto& [name, value] : arguments.keywords) {
        TRY_ASSIGN(Value key, runtime.string(name));
        TRY(values.as<Dict>().set(runtime, std::move(key), value));
    }
    return percent_format(runtime, format, values);
}

Result<Value> to_json(Runtime& runtime, Arguments& arguments) {
    TRY_ASSIGN(const Bound bound,
               bind("tojson", arguments, {"x", "ensure_ascii", "indent", "separators", "sort_keys"}));
    JsonStyle style;
    style.ascii_only = bound.is_true(1, false);
    style.sort_keys = bound.is_true(4, false);
    if (!bound.is_none(2)) {
        style.is_indented = true;
        style.item_separator = ",";
        if (bound[2].is(Kind::kString)) {
            style.indent = bound[2].text();
        } else {
            TRY_ASSIGN(const int64_t width, bound.integer(2, 0));
            TRY(runtime.reserve(std::max<int64_t>(width, 0)));
            style.indent.assign(static_cast<size_t>(std::max<int64_t>(width, 0)), ' ');
        }
    }
    if (!bound.is_none(3)) {
        TRY_ASSIGN(const std::vector<Value> separators, to_vector(runtime, bound[3]));
        if (separators.size() != 2 || !separators[0].is(Kind::kString) || !separators[1].is(Kind::kString))
            return fail("tojson() needs two strings as separators");
        style.item_separator = separators[0].text();
        style.key_separator = separators[1].text();
    }
    Text out(runtime);
    TRY(append_json(out, runtime, bound[0], style));
    return runtime.string(out.take());
}

constexpr Builtin kTextFilters[] = {
    {"upper", upper_filter},
    {"lower", lower_filter},
    {"capitalize", capitalize_filter},
    {"title", title_filter},
    {"trim", trim},
    {"replace", replace_filter},
    {"string", string_filter},
    {"safe", safe},
    {"escape", escape},
    {"e", escape},
    {"forceescape", force_escape},
    {"indent", indent},
    {"center", center},
    {"truncate", truncate},
    {"wordcount", word_count},
    {"urlencode", url_encode},
    {"format", format_filter},
    {"tojson", to_json},
};

}  // namespace

std::span<const Builtin> text_filters() { return kTextFilters; }

}  // namespace invar::jinja
