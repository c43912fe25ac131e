// The directives of C's strftime, with glibc's flags - _ 0 ^ and #, since Python hands the format to glibc. A directive
// it does not know stays as it is. %z and %Z are empty: the time has no zone, like Python's datetime.now().
#include "text/template/strftime.h"

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
    // Beyond the years 1 to 9999 Python has no dates; the time is clamped there.
    seconds = std::clamp<int64_t>(seconds, -62135596800, 253402300799);
    int64_t days = seconds / 86400, rest = seconds % 86400;
    if (rest < 0) rest += 86400, --days;
    Time t{};
    t.seconds = seconds;
    t.hour = static_cast<int>(rest / 3600), t.minute = static_cast<int>(rest / 60 % 60),
    t.second = static_cast<int>(rest % 60);
    t.weekday = static_cast<int>(((days + 4) % 7 + 7) % 7);
    // Days from the civil calendar, counted in eras of 400 years that begin on 1 March (H. Hinnant's derivation).
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

Field number(int64_t value, int width, char pad = '0') { return {std::to_string(value), width, pad}; }
Field words(std::string text) { return {std::move(text), 0, ' '}; }

bool find_field(char directive, const Time& t, Field& field) {
    const int hour12 = t.hour % 12 == 0 ? 12 : t.hour % 12;
    const std::string day(kDays[static_cast<size_t>(t.weekday)]), month(kMonths[static_cast<size_t>(t.month - 1)]);
    const auto nested = [&](std::string_view format) { return words(format_time(format, t.seconds)); };
    switch (directive) {
        case 'a':
            field = words(day.substr(0, 3));
            return true;
        case 'A':
            field = words(day);
            return true;
        case 'b':
        case 'h':
            field = words(month.substr(0, 3));
            return true;
        case 'B':
            field = words(month);
            return true;
        case 'c':
            field = nested("%a %b %e %H:%M:%S %Y");
            return true;
        case 'C':
            field = number(t.year / 100, 2);
            return true;
        case 'd':
            field = number(t.day, 2);
            return true;
        case 'D':
        case 'x':
            field = nested("%m/%d/%y");
            return true;
        case 'e':
            field = number(t.day, 2, ' ');
            return true;
        case 'f':
            field = number(0, 6);
            return true;
        case 'F':
            field = nested("%Y-%m-%d");
            return true;
        case 'g':
            field = number(iso_week(t).first % 100, 2);
            return true;
        case 'G':
            field = number(iso_week(t).first, 4);
            return true;
        case 'H':
            field = number(t.hour, 2);
            return true;
        case 'I':
            field = number(hour12, 2);
            return true;
        case 'j':
            field = number(t.day_of_year, 3);
            return true;
        case 'k':
            field = number(t.hour, 2, ' ');
            return true;
        case 'l':
            field = number(hour12, 2, ' ');
            return true;
        case 'm':
            field = number(t.month, 2);
            return true;
        case 'M':
            field = number(t.minute, 2);
            return true;
        case 'n':
            field = words("\n");
            return true;
        case 'p':
            field = words(t.hour < 12 ? "AM" : "PM");
            return true;
        case 'P':
            field = words(t.hour < 12 ? "am" : "pm");
            return true;
        case 'r':
            field = nested("%I:%M:%S %p");
            return true;
        case 'R':
            field = nested("%H:%M");
            return true;
        case 's':
            field = number(t.seconds, 1);
            return true;
        case 'S':
            field = number(t.second, 2);
            return true;
        case 't':
            field = words("\t");
            return true;
        case 'T':
        case 'X':
            field = nested("%H:%M:%S");
            return true;
        case 'u':
            field = number(t.weekday == 0 ? 7 : t.weekday, 1);
            return true;
        case 'U':
            field = number((t.day_of_year + 6 - t.weekday) / 7, 2);
            return true;
        case 'V':
            field = number(iso_week(t).second, 2);
            return true;
        case 'w':
            field = number(t.weekday, 1);
            return true;
        case 'W':
            field = number((t.day_of_year + 6 - (t.weekday + 6) % 7) / 7, 2);
            return true;
        case 'y':
            field = number(t.year % 100, 2);
            return true;
        case 'Y':
            field = number(t.year, 1);
            return true;
        case 'z':
        case 'Z':
            field = words("");
            return true;
        case '%':
            field = words("%");
            return true;
        default:
            return false;
    }
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
        if (flag == '^' || flag == '#')
            std::transform(field.text.begin(), field.text.end(), field.text.begin(),
                           [](char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c; });
        const size_t width = flag == '-' ? 0 : static_cast<size_t>(field.width);
        if (field.text.size() < width) out.append(width - field.text.size(), field.pad);
        out += field.text;
    }
    return out;
}

}  // namespace invar::jinja
