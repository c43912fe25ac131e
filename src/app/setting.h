// A row of a table of settings: its flag, where its value goes, how that is read, its range and default, and its help.
// The command line and --help follow from the rows alone (command_line.h). The tables: settings.cpp for every command
// that loads a model, run_settings.cpp for choosing tokens, and NAME_command.cpp for what one command alone has.
// Numbers are read here, once and strictly: the whole text is a number in its range, or the error says what would be.
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

// What a setting reads into, made by the functions below. What it points at must outlive it.
struct Value {
    enum class Takes : uint8_t { nothing, text, text_each_time };
    Takes takes = Takes::text;  // each time: the flag may be repeated, and takes one text at every occurrence
    std::string kind;           // of text, as --help shows it: "INT in [0 - 4096]"
    std::string shown_default;  // as --help shows it; "": not shown
    // Called once an occurrence. Errors are sentences that begin with the flag.
    std::function<Result<void>(std::string_view flag, std::string_view text)> read;
};

struct Setting {
    std::string flag;  // "--threads", "--out,-o"; without dashes it is a positional argument: "model"
    Value value;
    std::string help;
    bool required = false;
};
inline constexpr bool kRequired = true;  // for the last member

struct SettingGroup {
    std::string title;  // "": the command's own
    std::vector<Setting> rows;
};

// Becomes `when_given`.
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

// Whole numbers and finite ones, between `least` and `greatest`, both included.
template <class Number>
inline constexpr Number kMost = std::numeric_limits<Number>::max();
Value number(int& value, int least, int greatest = kMost<int>);
Value number(int64_t& value, int64_t least, int64_t greatest = kMost<int64_t>);
Value number(uint64_t& value, uint64_t least = 0, uint64_t greatest = kMost<uint64_t>);
Value number(float& value, float least, float greatest);
Value number(double& value, double least, double greatest);
// Nothing for `word`.
Value number_or(std::optional<int64_t>& value, std::string_view word, int64_t least, int64_t greatest = kMost<int64_t>);

// Several with commas between them, or the flag again; the first occurrence replaces the default.
Value numbers(std::vector<int>& value, int least, int greatest = kMost<int>);
Value numbers(std::vector<int64_t>& value, int64_t least, int64_t greatest = kMost<int64_t>);

// "3", "0-5", "0-2,7" as first and last.
using Ranges = std::vector<std::pair<int64_t, int64_t>>;
Value ranges(Ranges& value);

// "8G", "512M", "1000000" as bytes.
Value bytes(std::optional<int64_t>& value);

// 0 to 2^64 - 1, or -1 for one that the system draws.
Value seed(uint64_t& value);

// `expected`, after "must be", says what `parse` accepts; it gives false where it does not.
Value parsed(std::string kind, std::string shown_default, std::string expected,
             std::function<bool(std::string_view)> parse, Value::Takes takes = Value::Takes::text);

template <class Choice>
struct Named {
    std::string_view name;
    Choice value;
};

// One of the names.
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

// The whole of `text` as a number of that type; nothing otherwise. Infinities and NaN are no numbers here.
template <class Number>
std::optional<Number> parse_number(std::string_view text);

}  // namespace invar::app
