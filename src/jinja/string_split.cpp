// Methods of str that take it apart.
#include <algorithm>

#include "jinja/arguments.h"
#include "jinja/builtins.h"
#include "jinja/characters.h"
#include "jinja/string_predicates.h"

namespace invar::jinja {

namespace {

Result<Value> to_list(Runtime& runtime, const std::vector<std::string_view>& parts, bool markup) {
    std::vector<Value> items;
    items.reserve(parts.size());
    for (const std::string_view part : parts) {
        TRY_ASSIGN(Value item, runtime.string(std::string(part), markup));
        items.push_back(std::move(item));
    }
    return runtime.list(std::move(items));
}

// Splits at runs of white space and drops them. Makes at most `limit` cuts, or all if it is negative.
std::vector<std::string_view> split_at_space(std::string_view text, int64_t limit) {
    std::vector<std::string_view> parts;
    text = strip_left(text);
    while (!text.empty()) {
        if (limit >= 0 && static_cast<int64_t>(parts.size()) >= limit) {
            parts.push_back(text);  // the last part keeps the white space at its end
            break;
        }
        size_t end = 0;
        while (end < text.size()) {
            size_t next = end;
            if (is_space(decode(text, next))) break;
            end = next;
        }
        parts.push_back(text.substr(0, end));
        text = strip_left(text.substr(end));
    }
    return parts;
}

std::vector<std::string_view> split_at_space_from_right(std::string_view text, int64_t limit) {
    std::vector<std::string_view> parts;
    text = strip_right(text);
    while (!text.empty()) {
        if (limit >= 0 && static_cast<int64_t>(parts.size()) >= limit) {
            parts.push_back(text);  // the first part keeps the white space at its beginning
            break;
        }
        size_t begin = text.size();
        while (begin > 0) {
            const size_t before = previous(text, begin);
            size_t position = before;
            if (is_space(decode(text, position))) break;
            begin = before;
        }
        parts.push_back(text.substr(begin));
        text = strip_right(text.substr(0, begin));
    }
    std::reverse(parts.begin(), parts.end());
    return parts;
}

std::vector<std::string_view> split_at(std::string_view text, std::string_view separator, int64_t limit) {
    std::vector<std::string_view> parts;
    size_t begin = 0;
    while (limit != 0) {
        const size_t found = find_bytes(text, separator, begin);
        if (found == std::string_view::npos) break;
        parts.push_back(text.substr(begin, found - begin));
        begin = found + separator.size();
        --limit;
    }
    parts.push_back(text.substr(begin));
    return parts;
}

std::vector<std::string_view> split_at_from_right(std::string_view text, std::string_view separator, int64_t limit) {
    // Searches the reversed text, where each cut is found in time linear in what it skips.
    const std::string reversed(text.rbegin(), text.rend()), wanted(separator.rbegin(), separator.rend());
    std::vector<std::string_view> parts;
    size_t end = text.size();
    while (limit != 0) {
        const size_t found = find_bytes(reversed, wanted, text.size() - end);
        if (found == std::string_view::npos) break;
        const size_t begin = text.size() - found - separator.size();
        parts.push_back(text.substr(begin + separator.size(), end - begin - separator.size()));
        end = begin;
        --limit;
    }
    parts.push_back(text.substr(0, end));
    std::reverse(parts.begin(), parts.end());
    return parts;
}

template <bool from_right>
Result<Value> split(Runtime& runtime, Arguments& arguments) {
    TRY_ASSIGN(const Bound bound, bind(from_right ? "rsplit" : "split", arguments, {"", "sep", "maxsplit"}));
    TRY_ASSIGN(const int64_t limit, bound.integer(2, -1));
    const std::string_view text = bound[0].text();
    TRY(runtime.reserve(static_cast<int64_t>(text.size())));
    if (bound.is_none(1)) {
        const auto parts = from_right ? split_at_space_from_right(text, limit) : split_at_space(text, limit);
        return to_list(runtime, parts, bound[0].is_markup());
    }
    TRY_ASSIGN(const std::string_view separator, bound.text(1, ""));
    if (separator.empty()) return fail("split() needs a separator that is not empty");
    const auto parts = from_right ? split_at_from_right(text, separator, limit) : split_at(text, separator, limit);
    return to_list(runtime, parts, bound[0].is_markup());
}

Result<Value> split_lines(Runtime& runtime, Arguments& arguments) {
    TRY_ASSIGN(const Bound bound, bind("splitlines", arguments, {"", "keepends"}));
    TRY(runtime.reserve(static_cast<int64_t>(bound[0].text().size())));
    return to_list(runtime, lines_of(bound[0].text(), bound.is_true(1, false)), bound[0].is_markup());
}

template <bool from_right>
Result<Value> partition(Runtime& runtime, Arguments& arguments) {
    TRY_ASSIGN(const Bound bound, bind(from_right ? "rpartition" : "partition", arguments, {"", ""}, 2));
    TRY_ASSIGN(const std::string_view separator, bound.text(1, ""));
    if (separator.empty()) return fail("partition() needs a separator that is not empty");
    const std::string_view text = bound[0].text();
    TRY(runtime.step_bytes(static_cast<int64_t>(text.size())));
    const size_t found = from_right ? rfind_bytes(text, separator) : find_bytes(text, separator);
    std::string_view parts[3] = {text.substr(0, found), separator, ""};
    if (found != std::string_view::npos) {
        parts[2] = text.substr(found + separator.size());
    } else {
        parts[0] = from_right ? "" : text;
        parts[1] = "";
        parts[2] = from_right ? text : "";
    }
    std::vector<Value> items;
    for (const std::string_view part : parts) {
        TRY_ASSIGN(Value item, runtime.string(std::string(part), bound[0].is_markup()));
        items.push_back(std::move(item));
    }
    return runtime.tuple(std::move(items));
}

constexpr Builtin kSplitMethods[] = {{"split", split<false>},
                                     {"rsplit", split<true>},
                                     {"splitlines", split_lines},
                                     {"partition", partition<false>},
                                     {"rpartition", partition<true>}};

bool ends_line(char32_t c) {
    return (c >= 10 && c <= 13) || (c >= 28 && c <= 30) || c == 0x85 || c == 0x2028 || c == 0x2029;
}

}  // namespace

std::vector<std::string_view> lines_of(std::string_view text, bool keep_ends) {
    std::vector<std::string_view> lines;
    size_t begin = 0;
    for (size_t position = 0; position < text.size();) {
        const size_t end = position;
        const char32_t c = decode(text, position);
        if (!ends_line(c)) continue;
        if (c == '\r' && position < text.size() && text[position] == '\n') ++position;
        lines.push_back(text.substr(begin, (keep_ends ? position : end) - begin));
        begin = position;
    }
    if (begin < text.size()) lines.push_back(text.substr(begin));
    return lines;
}

std::span<const Builtin> string_split_methods() { return kSplitMethods; }

}  // namespace invar::jinja
