// A setting is a row of a table: its flag, the variable it fills, how its text is read, its range, its default and its
// help. The command line and --help follow from the rows alone (command_line.h). settings.cpp has the table of every
// command that loads a model, run_settings.cpp that of choosing tokens, and NAME_command.cpp that of one command.
// Numbers are read here and strictly: either the whole text is a number in its range, or the error says what would be
// accepted.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace invar::app {

// How a setting is read. The functions below make one for a variable, which must outlive it.
struct Value {
    enum class Takes : uint8_t { nothing, text, text_each_time };
    Takes takes = Takes::text;  // text_each_time: the flag may be repeated, with one text each time
    std::string kind;           // the kind of text, as --help shows it: "INT in [0 - 4096]"
    std::string shown_default;  // the default, as --help shows it; "": none is shown
    // Called once per occurrence. Errors are sentences that begin with the flag.
    std::function<Result<void>(std::string_view flag, std::string_view text)> read;
};

struct Setting {
    std::string flag;  // "--threads", "--out,-o"; a name without dashes is a positional argument: "model"
    Value value;
    std::string help;
    bool required = false;
};
inline constexpr bool kRequired = true;  // for the last member of a row

struct SettingGroup {
    std::string title;  // "": the settings of this command alone
    std::vector<Setting> rows;
};

// The flag takes no text; the variable becomes `when_given`.
template <class Choice>
Value flag(Choice& value, Choice when_given) {
    return {.takes = Value::Takes::nothing,
            .read = [&value, when_given](std::string_view, std::string_view) -> Result<void> {
                value = when_given;
                return {};
            }};
}
inline Value flag(bool& value) { return flag(value, true); }

Value text(std::string& value);
Value text(std::optional<std::string>& value);
Value text(std::filesystem::path& value);
Value texts(std::vector<std::string>& value);

// Reads a whole or a finite number from `least` to `greatest`, both included.
template <class Number>
inline constexpr Number kMost = std::numeric_limits<Number>::max();
Value number(int& value, int least, int greatest = kMost<int>);
Value number(int64_t& value, int64_t least, int64_t greatest = kMost<int64_t>);
Value number(uint64_t& value, uint64_t least = 0, uint64_t greatest = kMost<uint64_t>);
Value number(float& value, float least, float greatest);
Value number(double& value, double least, double greatest);
// The same, but `word` stands for nothing.
Value number_or(std::optional<int64_t>& value, std::string_view word, int64_t least, int64_t greatest = kMost<int64_t>);

// Reads numbers with commas between them; the flag may be repeated. The first occurrence replaces the default.
Value numbers(std::vector<int>& value, int least, int greatest = kMost<int>);
Value numbers(std::vector<int64_t>& value, int64_t least, int64_t greatest = kMost<int64_t>);

// Reads "3", "0-5" or "0-2,7" as pairs of first and last.
using Ranges = std::vector<std::pair<int64_t, int64_t>>;
Value ranges(Ranges& value);

// Reads "1T", "8G", "512M" or "1000000" as bytes.
Value bytes(std::optional<int64_t>& value);

// Reads 0 to 2^64 - 1; -1 stands for a random seed.
Value seed(uint64_t& value);

// Reads anything that `parse` accepts; it returns false for the rest. The error says "must be" and `expected`.
Value parsed(std::string kind, std::string shown_default, std::string expected,
             std::function<bool(std::string_view)> parse, Value::Takes takes = Value::Takes::text);

template <class Choice>
struct Named {
    std::string_view name;
    Choice value;
};

// Reads one of the names.
template <class Choice>
Value choice(Choice& value, std::vector<Named<Choice>> choices) {
    std::string names, kind, shown;
    for (const Named<Choice>& one : choices) {
        names.append(names.empty() ? "" : ", ").append(one.name);
        kind.append(kind.empty() ? "" : "|").append(one.name);
        if (one.value == value) shown = one.name;
    }
    return parsed(std::move(kind), std::move(shown), "one of " + names,
                  [&value, choices = std::move(choices)](std::string_view given) {
                      for (const Named<Choice>& one : choices) {
                          if (one.name != given) continue;
                          value = one.value;
                          return true;
                      }
                      return false;
                  });
}

// Reads the whole of `text` as a number of that type; nothing if it is none. Infinity and NaN are not accepted.
template <class Number>
std::optional<Number> parse_number(std::string_view text);

}  // namespace invar::app
