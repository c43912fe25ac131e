// The directives of C's strftime with glibc's flags - _ 0 ^ and #, because Python passes the format to glibc. An
// unknown directive stays as it is. %z and %Z are empty: the time has no zone, like Python's datetime.now().
#include "jinja/strftime.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace invar::jinja {

namespace {

constexpr std::array<std::string_view, 7> kDays = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                                   "Thursday", "Friday", "Saturday"};
constexpr std::array<std::string_view, 12> kMonths = {"January",   "February", "March",    "April",
                                                      "May",       "June",     "July",     "August",
                                                      "September", "October",  "November", "December"};

struct Time {
    int64_t year;
    int month, day, hour, minute, second, weekday, day_of_year;  // month and day from 1, weekday from Sunday = 0
    int64_t seconds;
};

bool is_leap(int64_t year) { return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0; }

Time broken_down(int64_t seconds) {
    // Python has no dates outside the years 1 to 9999, so the time is clamped to them.
    seconds = std::clamp<int64_t>(seconds, -62135596800, 253402300799);
    int64_t days = seconds / 86400, rest = seconds % 86400;
    if (rest < 0) rest += 86400, --days;
    Time t{};
    t.seconds = seconds;
    t.hour = static_cast<int>(rest / 3600), t.minute = static_cast<int>(rest / 60 % 60),
    t.second = static_cast<int>(rest % 60);
    t.weekday = static_cast<int>(((days + 4) % 7 + 7) % 7);
    // The calendar date of a day, counted in eras of 400 years that begin on 1 March (H. Hinnant's derivation).
    const int64_t shifted = days + 719468;
    const int64_t era = (shifted >= 0 ? shifted : shifted - 146096) / 146097;
    const int64_t day_of_era = shifted - era * 146097;
    const int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    const int64_t day_from_march = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    const int64_t month_from_march = (5 * day_from_march + 2) / 153;
    t.day = static_cast<int>(day_from_march - (153 * month_from_march + 2) / 5 + 1);
    t.month = static_cast<int>(month_from_march < 10 ? month_from_march + 3 : month_from_march - 9);
    t.year = year_of_era + era * 400 + (t.month <= 2 ? 1 : 0);
    constexpr std::array<int, 12> kBefore = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334};
    t.day_of_year = kBefore[static_cast<size_t>(t.month - 1)] + t.day + (t.month > 2 && is_leap(t.year) ? 1 : 0);
    return t;
}

// ISO 8601: weeks begin on Monday, and the first week is the one with the year's first Thursday.
std::pair<int64_t, int> iso_week(const Time& t) {
    const int weekday = (t.weekday + 6) % 7;  // from Monday = 0
    const int week = (t.day_of_year - weekday + 9) / 7;
    const auto weeks_in = [](int64_t year) {
        const auto shift = [](int64_t y) { return (y + y / 4 - y / 100 + y / 400) % 7; };
        return shift(year) == 4 || shift(year - 1) == 3 ? 53 : 52;
    };
    if (week < 1) return {t.year - 1, weeks_in(t.year - 1)};
    if (week > weeks_in(t.year)) return {t.year + 1, 1};
    return {t.year, week};
}

struct Field {
    std::string text;
    int width = 0;   // of a number
    char pad = '0';  // of a number
};

int hour_of_twelve(const Time& t) { return t.hour % 12 == 0 ? 12 : t.hour % 12; }

struct NumberDirective {
    char directive;
    int width;
    char pad;
    int64_t (*value)(const Time&);
};

// clang-format off
constexpr NumberDirective kNumbers[] = {
    {'C', 2, '0', [](const Time& t) -> int64_t { return t.year / 100; }},
    {'d', 2, '0', [](const Time& t) -> int64_t { return t.day; }},
    {'e', 2, ' ', [](const Time& t) -> int64_t { return t.day; }},
    {'f', 6, '0', [](const Time&) -> int64_t { return 0; }},
    {'g', 2, '0', [](const Time& t) -> int64_t { return iso_week(t).first % 100; }},
    {'G', 4, '0', [](const Time& t) -> int64_t { return iso_week(t).first; }},
    {'H', 2, '0', [](const Time& t) -> int64_t { return t.hour; }},
    {'I', 2, '0', [](const Time& t) -> int64_t { return hour_of_twelve(t); }},
    {'j', 3, '0', [](const Time& t) -> int64_t { return t.day_of_year; }},
    {'k', 2, ' ', [](const Time& t) -> int64_t { return t.hour; }},
    {'l', 2, ' ', [](const Time& t) -> int64_t { return hour_of_twelve(t); }},
    {'m', 2, '0', [](const Time& t) -> int64_t { return t.month; }},
    {'M', 2, '0', [](const Time& t) -> int64_t { return t.minute; }},
    {'s', 1, '0', [](const Time& t) -> int64_t { return t.seconds; }},
    {'S', 2, '0', [](const Time& t) -> int64_t { return t.second; }},
    {'u', 1, '0', [](const Time& t) -> int64_t { return t.weekday == 0 ? 7 : t.weekday; }},
    {'U', 2, '0', [](const Time& t) -> int64_t { return (t.day_of_year + 6 - t.weekday) / 7; }},
    {'V', 2, '0', [](const Time& t) -> int64_t { return iso_week(t).second; }},
    {'w', 1, '0', [](const Time& t) -> int64_t { return t.weekday; }},
    {'W', 2, '0', [](const Time& t) -> int64_t { return (t.day_of_year + 6 - (t.weekday + 6) % 7) / 7; }},
    {'y', 2, '0', [](const Time& t) -> int64_t { return t.year % 100; }},
    {'Y', 1, '0', [](const Time& t) -> int64_t { return t.year; }},
};

struct TextDirective {
    char directive;
    std::string_view format;  // the format it stands for
};
constexpr TextDirective kComposed[] = {
    {'c', "%a %b %e %H:%M:%S %Y"}, {'D', "%m/%d/%y"}, {'F', "%Y-%m-%d"}, {'n', "\n"}, {'r', "%I:%M:%S %p"}, {'R', "%H:%M"},
    {'t', "\t"}, {'T', "%H:%M:%S"}, {'x', "%m/%d/%y"}, {'X', "%H:%M:%S"}, {'z', ""}, {'Z', ""},
};
// clang-format on

bool find_name(char directive, const Time& t, std::string& name) {
    const std::string_view day = kDays[static_cast<size_t>(t.weekday)];
    const std::string_view month = kMonths[static_cast<size_t>(t.month - 1)];
    if (directive == 'a') name = day.substr(0, 3);
    if (directive == 'A') name = day;
    if (directive == 'b' || directive == 'h') name = month.substr(0, 3);
    if (directive == 'B') name = month;
    if (directive == 'p') name = t.hour < 12 ? "AM" : "PM";
    if (directive == 'P') name = t.hour < 12 ? "am" : "pm";
    if (directive == '%') name = "%";
    return !name.empty();
}

bool find_field(char directive, const Time& t, Field& field) {
    if (find_name(directive, t, field.text)) return true;
    for (const NumberDirective& row : kNumbers) {
        if (row.directive != directive) continue;
        field = {std::to_string(row.value(t)), row.width, row.pad};
        return true;
    }
    for (const TextDirective& row : kComposed) {
        if (row.directive != directive) continue;
        field.text = row.format.find('%') == std::string_view::npos ? std::string(row.format)
                                                                    : format_time(row.format, t.seconds);
        return true;
    }
    return false;
}

}  // namespace

std::string format_time(std::string_view format, int64_t seconds_since_1970) {
    const Time time = broken_down(seconds_since_1970);
    std::string out;
    for (size_t position = 0; position < format.size();) {
        size_t directive = position + 1;
        char flag = '\0';
        while (directive < format.size() && std::string_view("-_0^#").find(format[directive]) != std::string_view::npos)
            flag = format[directive++];
        Field field;
        if (format[position] != '%' || directive >= format.size() || !find_field(format[directive], time, field)) {
            out.push_back(format[position++]);
            continue;
        }
        position = directive + 1;
        if (flag == '_') field.pad = ' ';
        if (flag == '0') field.pad = '0';
        if ((flag == '^' || flag == '#') && format[directive] != 'P')
            std::transform(field.text.begin(), field.text.end(), field.text.begin(),
                           [](char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c; });
        const size_t width = flag == '-' ? 0 : static_cast<size_t>(field.width);
        if (field.text.size() < width) out.append(width - field.text.size(), field.pad);
        out += field.text;
    }
    return out;
}

}  // namespace invar::jinja
