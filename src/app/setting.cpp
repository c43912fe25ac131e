#include "app/setting.h"

#include <charconv>
#include <cmath>
#include <memory>
#include <random>
#include <type_traits>

namespace invar::app {
namespace {

template <class Number>
std::string kind_of(Number least, Number greatest) {
    const char* const name = std::is_floating_point_v<Number> ? "NUMBER" : "INT";
    if (greatest == kMost<Number>) return least == 0 ? name : fmt::format("{} >= {}", name, least);
    return fmt::format("{} in [{} - {}]", name, least, greatest);
}

template <class Number>
std::string expectation(Number least, Number greatest) {
    const char* const name = std::is_floating_point_v<Number> ? "a number" : "a whole number";
    if (greatest == kMost<Number>) return fmt::format("{} of at least {}", name, least);
    return fmt::format("{} between {} and {}", name, least, greatest);
}

template <class Number>
bool read_number(std::string_view text, Number least, Number greatest, Number& value) {
    const std::optional<Number> number = parse_number<Number>(text);
    if (!number || *number < least || *number > greatest) return false;
    value = *number;
    return true;
}

template <class Number>
Value number_value(Number& value, Number least, Number greatest) {
    return parsed(
        kind_of(least, greatest), fmt::format("{}", value), expectation(least, greatest),
        [&value, least, greatest](std::string_view text) { return read_number(text, least, greatest, value); });
}

// Calls `each` with every part between commas. A part may be empty, which `each` must refuse.
bool for_each_part(std::string_view text, const std::function<bool(std::string_view)>& each) {
    for (size_t start = 0;;) {
        const size_t comma = text.find(',', start);
        if (!each(text.substr(start, comma == std::string_view::npos ? comma : comma - start))) return false;
        if (comma == std::string_view::npos) return true;
        start = comma + 1;
    }
}

template <class Number>
Value list_value(std::vector<Number>& value, Number least, Number greatest) {
    std::string shown;
    for (const Number one : value) shown += fmt::format("{}{}", shown.empty() ? "" : ",", one);
    const auto given = std::make_shared<bool>(false);
    return parsed(
        kind_of(least, greatest) + ",...", std::move(shown),
        expectation(least, greatest) + ", or several with commas between them",
        [&value, given, least, greatest](std::string_view text) {
            if (!std::exchange(*given, true)) value.clear();
            return for_each_part(
                text, [&](std::string_view part) { return read_number(part, least, greatest, value.emplace_back()); });
        },
        Value::Takes::text_each_time);
}

bool read_range(std::string_view text, Ranges& value) {
    const size_t dash = text.find('-');
    std::pair<int64_t, int64_t> range;
    if (!read_number<int64_t>(text.substr(0, dash), 0, kMost<int64_t>, range.first)) return false;
    range.second = range.first;
    if (dash != std::string_view::npos &&
        !read_number<int64_t>(text.substr(dash + 1), range.first, kMost<int64_t>, range.second)) {
        return false;
    }
    value.push_back(range);
    return true;
}

bool read_bytes(std::string_view text, std::optional<int64_t>& value) {
    double scale = 1;
    if (text.ends_with('K') || text.ends_with('k')) scale = 1 << 10;
    if (text.ends_with('M')) scale = 1 << 20;
    if (text.ends_with('G')) scale = 1 << 30;
    if (text.ends_with('T')) scale = double{1 << 30} * (1 << 10);
    if (scale != 1) text.remove_suffix(1);
    const std::optional<double> number = parse_number<double>(text);
    if (!number || !(*number > 0) || *number * scale > 1e18) return false;
    value = static_cast<int64_t>(*number * scale);
    return true;
}

template <class Text>
Value text_value(Text& value, std::string shown) {
    return {.kind = "TEXT",
            .shown_default = std::move(shown),
            .read = [&value](std::string_view, std::string_view text) -> Result<void> {
                value = std::string(text);
                return {};
            }};
}

}  // namespace

template <class Number>
std::optional<Number> parse_number(std::string_view text) {
    Number number{};
    const char* const end = text.data() + text.size();
    const auto read = std::from_chars(text.data(), end, number);
    if (read.ec != std::errc() || read.ptr != end) return std::nullopt;
    if constexpr (std::is_floating_point_v<Number>) {
        if (!std::isfinite(number)) return std::nullopt;
    }
    return number;
}
template std::optional<int> parse_number(std::string_view);
template std::optional<int64_t> parse_number(std::string_view);
template std::optional<uint64_t> parse_number(std::string_view);
template std::optional<float> parse_number(std::string_view);
template std::optional<double> parse_number(std::string_view);

Value parsed(std::string kind, std::string shown_default, std::string expected,
             std::function<bool(std::string_view)> parse, Value::Takes takes) {
    return {.takes = takes,
            .kind = std::move(kind),
            .shown_default = std::move(shown_default),
            .read = [expected = std::move(expected), parse = std::move(parse)](std::string_view flag,
                                                                               std::string_view text) -> Result<void> {
                if (parse(text)) return {};
                return fail("{} is '{}', but must be {}", flag, text, expected);
            }};
}

Value text(std::string& value) { return text_value(value, value); }
Value text(std::optional<std::string>& value) { return text_value(value, value.value_or("")); }
Value text(std::filesystem::path& value) { return text_value(value, value.string()); }

Value texts(std::vector<std::string>& value) {
    return {.takes = Value::Takes::text_each_time,
            .kind = "TEXT",
            .read = [&value](std::string_view, std::string_view text) -> Result<void> {
                value.emplace_back(text);
                return {};
            }};
}

Value number(int& value, int least, int greatest) { return number_value(value, least, greatest); }
Value number(int64_t& value, int64_t least, int64_t greatest) { return number_value(value, least, greatest); }
Value number(uint64_t& value, uint64_t least, uint64_t greatest) { return number_value(value, least, greatest); }
Value number(float& value, float least, float greatest) { return number_value(value, least, greatest); }
Value number(double& value, double least, double greatest) { return number_value(value, least, greatest); }

Value number_or(std::optional<int64_t>& value, std::string_view word, int64_t least, int64_t greatest) {
    return parsed(fmt::format("{}|{}", word, kind_of(least, greatest)), std::string(word),
                  fmt::format("{} or {}", word, expectation(least, greatest)),
                  [&value, word = std::string(word), least, greatest](std::string_view text) {
                      if (text == word) {
                          value.reset();
                          return true;
                      }
                      return read_number(text, least, greatest, value.emplace());
                  });
}

Value numbers(std::vector<int>& value, int least, int greatest) { return list_value(value, least, greatest); }
Value numbers(std::vector<int64_t>& value, int64_t least, int64_t greatest) {
    return list_value(value, least, greatest);
}

Value ranges(Ranges& value) {
    return parsed(
        "RANGES", "", "a range such as 3 or 0-5, or several with commas between them",
        [&value](std::string_view text) {
            return for_each_part(text, [&](std::string_view part) { return read_range(part, value); });
        },
        Value::Takes::text_each_time);
}

Value bytes(std::optional<int64_t>& value) {
    return parsed("BYTES", "", "an amount of memory: bytes, or a number with K, M, G or T, e.g. 8G",
                  [&value](std::string_view text) { return read_bytes(text, value); });
}

Value seed(uint64_t& value) {
    return parsed("INT >= -1", fmt::format("{}", value),
                  fmt::format("a whole number between 0 and {}, or -1 for a random one", kMost<uint64_t>),
                  [&value](std::string_view text) {
                      if (text != "-1") return read_number<uint64_t>(text, 0, kMost<uint64_t>, value);
                      std::random_device system;
                      value = uint64_t{system()} << 32 | system();
                      return true;
                  });
}

}  // namespace invar::app
