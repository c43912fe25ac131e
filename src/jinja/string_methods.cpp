// Methods of str that make one string from another or look something up in it. string_split.cpp splits,
// string_predicates.cpp has the is...() methods. A Markup stays a Markup and escapes what is put into it.
#include <algorithm>

#include "jinja/arguments.h"
#include "jinja/builtins.h"
#include "jinja/characters.h"
#include "jinja/compare.h"
#include "jinja/iterate.h"
#include "jinja/operators.h"
#include "jinja/text.h"

namespace invar::jinja {

namespace {

Result<Value> like(Runtime& runtime, const Value& self, std::string text) {
    return runtime.string(std::move(text), self.is_markup());
}

using Mapping = std::string (*)(std::string_view);
template <Mapping mapping>
Result<Value> map_text(Runtime& runtime, Arguments& arguments) {
    TRY_ASSIGN(const Bound bound, bind("str method", arguments, {""}));
    TRY(runtime.reserve(static_cast<int64_t>(bound[0].text().size())));
    return like(runtime, bound[0], mapping(bound[0].text()));
}

enum class Side { kLeft, kRight, kBoth };
template <Side side>
Result<Value> strip(Runtime& runtime, Arguments& arguments) {
    TRY_ASSIGN(const Bound bound, bind("strip", arguments, {"", ""}));
    std::string_view text = bound[0].text();
    TRY(runtime.step_bytes(static_cast<int64_t>(text.size())));
    if (bound.is_none(1)) {
        if (side != Side::kRight) text = strip_left(text);
        if (side != Side::kLeft) text = strip_right(text);
        return like(runtime, bound[0], std::string(text));
    }
    TRY_ASSIGN(const std::string_view listed, bound.text(1, ""));
    TRY(runtime.step_bytes(static_cast<int64_t>(listed.size())));
    std::vector<char32_t> characters;
    for (size_t position = 0; position < listed.size();) characters.push_back(decode(listed, position));
    std::sort(characters.begin(), characters.end());
    const auto is_listed = [&](char32_t c) { return std::binary_search(characters.begin(), characters.end(), c); };
    if (side != Side::kRight) {
        size_t begin = 0;
        while (begin < text.size()) {
            size_t next = begin;
            if (!is_listed(decode(text, next))) break;
            begin = next;
        }
        text.remove_prefix(begin);
    }
    while (side != Side::kLeft && !text.empty()) {
        const size_t begin = previous(text, text.size());
        size_t next = begin;
        if (!is_listed(decode(text, next))) break;
        text = text.substr(0, begin);
    }
    return like(runtime, bound[0], std::string(text));
}

Result<Value> replace(Runtime& runtime, Arguments& arguments) {
    TRY_ASSIGN(const Bound bound, bind("replace", arguments, {"", "", "", ""}, 3));
    TRY_ASSIGN(const std::string_view old, bound.text(1, ""));
    TRY_ASSIGN(const std::string_view replacement, bound.text(2, ""));
    TRY_ASSIGN(int64_t count, bound.integer(3, -1));
    const bool must_escape = bound[0].is_markup() && !bound[2].is_markup();
    return replaced(runtime, bound[0].text(), old, must_escape ? escape_html(replacement) : std::string(replacement),
                    count, bound[0].is_markup());
}

// The part of a string that start and end select, in characters. `begin` is the byte where it starts.
struct Window {
    std::string_view text;
    size_t begin = 0;
    bool is_valid = true;  // start is not behind the end
};
Result<Window> window(Runtime& runtime, const Bound& bound) {
    const std::string_view text = bound[0].text();
    TRY(runtime.step_bytes(static_cast<int64_t>(text.size())));
    if (bound.is_none(2) && bound.is_none(3)) return Window{text};
    const int64_t length = string_length(bound[0]);
    const auto clamp = [&](int64_t index) {
        return index < 0 ? std::max<int64_t>(0, index < -length ? 0 : index + length) : index;
    };
    int64_t start = 0, end = length;
    if (!bound.is_none(2)) {
        TRY_ASSIGN(const int64_t given, bound.integer(2, 0));
        start = clamp(given);
    }
    if (!bound.is_none(3)) {
        TRY_ASSIGN(const int64_t given, bound.integer(3, 0));
        end = std::min(clamp(given), length);
    }
    if (start > end) return Window{"", 0, false};
    const size_t first = offset_of(text, start);
    return Window{text.substr(first, offset_of(text, end) - first), first};
}

template <bool from_right>
Result<int64_t> locate(Runtime& runtime, const Bound& bound) {
    TRY_ASSIGN(const std::string_view wanted, bound.text(1, ""));
    TRY_ASSIGN(const Window part, window(runtime, bound));
    if (!part.is_valid) return -1;
    const size_t found = from_right ? rfind_bytes(part.text, wanted) : find_bytes(part.text, wanted);
    if (found == std::string_view::npos) return -1;
    return count_characters(bound[0].text().substr(0, part.begin + found));
}

template <bool from_right, bool must_exist>
Result<Value> find(Runtime& runtime, Arguments& arguments) {
    TRY_ASSIGN(const Bound bound, bind(must_exist ? "index" : "find", arguments, {"", "", "", ""}, 2));
    TRY_ASSIGN(const int64_t found, locate<from_right>(runtime, bound));
    if (must_exist && found < 0) return fail("index(): the text is not there");
    return Value::integer(found);
}

Result<Value> count(Runtime& runtime, Arguments& arguments) {
    TRY_ASSIGN(const Bound bound, bind("count", arguments, {"", "", "", ""}, 2));
    TRY_ASSIGN(const std::string_view wanted, bound.text(1, ""));
    TRY_ASSIGN(const Window part, window(runtime, bound));
    if (!part.is_valid) return Value::integer(0);
    if (wanted.empty()) return Value::integer(count_characters(part.text) + 1);
    int64_t found = 0;
    for (size_t at = 0; (at = find_bytes(part.text, wanted, at)) != std::string_view::npos; at += wanted.size())
        ++found;
    return Value::integer(found);
}

template <bool at_end>
Result<Value> has_affix(Runtime& runtime, Arguments& arguments) {
    TRY_ASSIGN(const Bound bound, bind(at_end ? "endswith" : "startswith", arguments, {"", "", "", ""}, 2));
    TRY_ASSIGN(const Window part, window(runtime, bound));
    std::vector<Value> candidates = {bound[1]};
    if (bound[1].is(Kind::kTuple)) candidates = bound[1].as<Sequence>().items;
    for (const Value& candidate : candidates) {
        if (candidate.is(Kind::kUndefined)) return fail_undefined(candidate);
        if (!candidate.is(Kind::kString))
            return fail("{}() needs a str or a tuple of str, not a {}", at_end ? "endswith" : "startswith",
                        type_name(candidate));
        TRY(runtime.step_bytes(static_cast<int64_t>(candidate.text().size())));
        const bool matches = at_end ? part.text.ends_with(candidate.text()) : part.text.starts_with(candidate.text());
        if (part.is_valid && matches) return Value::boolean(true);
    }
    return Value::boolean(false);
}

Result<Value> join(Runtime& runtime, Arguments& arguments) {
    TRY_ASSIGN(const Bound bound, bind("join", arguments, {"", ""}, 2));
    TRY_ASSIGN(const std::vector<Value> items, to_vector(runtime, bound[1]));
    const bool markup = bound[0].is_markup();
    Text out(runtime);
    for (size_t i = 0; i < items.size(); ++i) {
        if (i != 0) TRY(out.append(bound[0].text()));
        if (!markup && !items[i].is(Kind::kString))
            return fail("join() needs str items, not a {}", type_name(items[i]));
        TRY_ASSIGN(const std::string text, to_text(runtime, items[i]));
        TRY(out.append(markup && !items[i].is_markup() ? escape_html(text) : text));
    }
    return runtime.string(out.take(), markup);
}

template <bool from_end>
Result<Value> remove_affix(Runtime& runtime, Arguments& arguments) {
    TRY_ASSIGN(const Bound bound, bind(from_end ? "removesuffix" : "removeprefix", arguments, {"", ""}, 2));
    TRY_ASSIGN(const std::string_view affix, bound.text(1, ""));
    std::string_view text = bound[0].text();
    if (from_end ? text.ends_with(affix) : text.starts_with(affix))
        text = from_end ? text.substr(0, text.size() - affix.size()) : text.substr(affix.size());
    return like(runtime, bound[0], std::string(text));
}

Result<std::string> fill(Runtime& runtime, std::string_view character, int64_t times) {
    times = std::max<int64_t>(times, 0);
    if (times > (int64_t{1} << 40)) times = int64_t{1} << 40;
    TRY(runtime.reserve(times * static_cast<int64_t>(character.size())));
    std::string out;
    for (int64_t i = 0; i < times; ++i) out += character;
    return out;
}

enum class Align { kLeft, kRight, kCentre };
template <Align align>
Result<Value> justify(Runtime& runtime, Arguments& arguments) {
    TRY_ASSIGN(const Bound bound, bind("justify", arguments, {"", "", ""}, 2));
    TRY_ASSIGN(const int64_t width, bound.integer(1, 0));
    TRY_ASSIGN(const std::string_view character, bound.text(2, " "));
    if (count_characters(character) != 1) return fail("the fill of a justified text must be one character");
    const int64_t length = string_length(bound[0]);
    const int64_t missing = width > length ? width - length : 0;
    int64_t before = align == Align::kRight ? missing : 0;
    if (align == Align::kCentre) before = missing / 2 + (missing & width & 1);  // CPython's rounding
    TRY_ASSIGN(const std::string left, fill(runtime, character, before));
    TRY_ASSIGN(const std::string right, fill(runtime, character, missing - before));
    TRY(runtime.reserve(static_cast<int64_t>(bound[0].text().size())));
    return like(runtime, bound[0], left + std::string(bound[0].text()) + right);
}

Result<Value> fill_with_zeros(Runtime& runtime, Arguments& arguments) {
    TRY_ASSIGN(const Bound bound, bind("zfill", arguments, {"", ""}, 2));
    TRY_ASSIGN(const int64_t width, bound.integer(1, 0));
    const std::string_view text = bound[0].text();
    const int64_t length = string_length(bound[0]);
    TRY_ASSIGN(const std::string zeros, fill(runtime, "0", width > length ? width - length : 0));
    const size_t sign = !text.empty() && (text[0] == '+' || text[0] == '-') ? 1 : 0;
    return like(runtime, bound[0], std::string(text.substr(0, sign)) + zeros + std::string(text.substr(sign)));
}

Result<Value> expand_tabs(Runtime& runtime, Arguments& arguments) {
    TRY_ASSIGN(const Bound bound, bind("expandtabs", arguments, {"", "tabsize"}));
    TRY_ASSIGN(const int64_t tab, bound.integer(1, 8));
    Text out(runtime);
    int64_t column = 0;
    const std::string_view text = bound[0].text();
    for (size_t position = 0; position < text.size();) {
        const size_t begin = position;
        const char32_t c = decode(text, position);
        if (c == '\t') {
            const int64_t spaces = tab > 0 ? tab - column % tab : 0;
            TRY(out.append(static_cast<size_t>(spaces), ' '));
            column += spaces;
        } else {
            TRY(out.append(text.substr(begin, position - begin)));
            column = c == '\n' || c == '\r' ? 0 : column + 1;
        }
    }
    return like(runtime, bound[0], out.take());
}

Result<Value> format(Runtime& runtime, Arguments& arguments) {
    Value self = arguments.positional.at(0);
    arguments.positional.erase(arguments.positional.begin());
    return brace_format(runtime, self, arguments);
}

Result<Value> format_map(Runtime& runtime, Arguments& arguments) {
    TRY_ASSIGN(const Bound bound, bind("format_map", arguments, {"", ""}, 2));
    if (!bound[1].is(Kind::kDict)) return fail("format_map() needs a dict, not a {}", type_name(bound[1]));
    Arguments spread;
    for (const Dict::Entry& entry : bound[1].as<Dict>().entries) {
        if (entry.key.is(Kind::kString)) spread.keywords.emplace_back(std::string(entry.key.text()), entry.value);
    }
    return brace_format(runtime, bound[0], spread);
}

Result<Value> refuse(Runtime&, Arguments&) {
    return fail("the methods encode(), translate(), maketrans() and casefold() of str are not supported");
}

constexpr Builtin kMethods[] = {
    {"upper", map_text<upper>},
    {"lower", map_text<lower>},
    {"title", map_text<title>},
    {"capitalize", map_text<capitalize>},
    {"swapcase", map_text<swap_case>},
    {"strip", strip<Side::kBoth>},
    {"lstrip", strip<Side::kLeft>},
    {"rstrip", strip<Side::kRight>},
    {"replace", replace},
    {"find", find<false, false>},
    {"rfind", find<true, false>},
    {"index", find<false, true>},
    {"rindex", find<true, true>},
    {"count", count},
    {"startswith", has_affix<false>},
    {"endswith", has_affix<true>},
    {"join", join},
    {"removeprefix", remove_affix<false>},
    {"removesuffix", remove_affix<true>},
    {"ljust", justify<Align::kLeft>},
    {"rjust", justify<Align::kRight>},
    {"center", justify<Align::kCentre>},
    {"zfill", fill_with_zeros},
    {"expandtabs", expand_tabs},
    {"format", format},
    {"format_map", format_map},
    {"encode", refuse},
    {"translate", refuse},
    {"maketrans", refuse},
    {"casefold", refuse},
};

}  // namespace

Result<Value> replaced(Runtime& runtime, std::string_view text, std::string_view old, const std::string& replacement,
                       int64_t count, bool markup) {
    TRY(runtime.step_bytes(static_cast<int64_t>(text.size())));
    Text out(runtime);
    size_t position = 0;
    while (count != 0) {
        // An empty text is found before every character and at the end.
        const size_t at = old.empty() ? position : find_bytes(text, old, position);
        if (at == std::string_view::npos) break;
        TRY(out.append(text.substr(position, at - position)));
        TRY(out.append(replacement));
        --count;
        if (!old.empty()) {
            position = at + old.size();
            continue;
        }
        if (position == text.size()) break;
        size_t next = position;
        decode(text, next);
        TRY(out.append(text.substr(position, next - position)));
        position = next;
    }
    if (position < text.size()) TRY(out.append(text.substr(position)));
    return runtime.string(out.take(), markup);
}

const Builtin* find_string_method(std::string_view name) {
    for (const auto table : {std::span<const Builtin>(kMethods), string_split_methods(), string_predicates()}) {
        if (const Builtin* found = find_in(table, name)) return found;
    }
    return nullptr;
}

}  // namespace invar::jinja
