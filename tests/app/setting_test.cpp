// How the text of a setting becomes its value: what is accepted, what is refused, and with which sentence.
#include "app/setting.h"

#include <gtest/gtest.h>

#include <cmath>

namespace invar::app {
namespace {

// The error of reading `text`; "" where it is accepted.
std::string error_of(const Value& value, std::string_view text) {
    const auto read = value.read("--flag", text);
    return read ? "" : read.error().message;
}

TEST(Setting, WholeNumbersAreWholeTextsInTheirRange) {
    int value = 7;
    const Value setting = number(value, -3, 4096);
    EXPECT_EQ(setting.shown_default, "7");
    for (const auto& [text, wanted] :
         std::vector<std::pair<std::string, int>>{{"0", 0}, {"-3", -3}, {"4096", 4096}, {"007", 7}, {"-0", 0}}) {
        EXPECT_EQ(error_of(setting, text), "") << text;
        EXPECT_EQ(value, wanted) << text;
    }
    value = 11;
    for (const char* text : {"", " 1", "1 ", "+1", "1.0", "1e3", "0x10", "1,2", "one", "-4", "4097", "2147483648",
                             "100000000000000000000000", "--1", "1\n", "١"}) {
        EXPECT_EQ(error_of(setting, text),
                  fmt::format("--flag is '{}', but must be a whole number between -3 and 4096", text));
        EXPECT_EQ(value, 11) << text;
    }
}

TEST(Setting, WideIntegersReachTheirLimitsAndNotOneFurther) {
    int64_t value = 0;
    const Value setting = number(value, 0);
    EXPECT_EQ(error_of(setting, "9223372036854775807"), "");
    EXPECT_EQ(value, INT64_MAX);
    EXPECT_EQ(error_of(setting, "9223372036854775808"),
              "--flag is '9223372036854775808', but must be a whole number of at least 0");
    uint64_t natural = 0;
    const Value unsigned_setting = number(natural);
    EXPECT_EQ(error_of(unsigned_setting, "18446744073709551615"), "");
    EXPECT_EQ(natural, UINT64_MAX);
    EXPECT_NE(error_of(unsigned_setting, "18446744073709551616"), "");
    EXPECT_NE(error_of(unsigned_setting, "-1"), "") << "no number below zero wraps around";
}

TEST(Setting, RealNumbersAreFiniteAndInTheirRange) {
    float value = 0.5f;
    const Value setting = number(value, 0, 1);
    for (const auto& [text, wanted] :
         std::vector<std::pair<std::string, float>>{{"0.25", 0.25f}, {"1", 1.0f}, {"1e-3", 1e-3f}, {".5", 0.5f}}) {
        EXPECT_EQ(error_of(setting, text), "") << text;
        EXPECT_EQ(value, wanted) << text;
    }
    for (const char* text : {"nan", "inf", "-inf", "1e400", "1.5", "-0.1", "0,5", "", "half", "1e", "0.5x"})
        EXPECT_EQ(error_of(setting, text), fmt::format("--flag is '{}', but must be a number between 0 and 1", text));
}

TEST(Setting, ASeedIsAnyOf64BitsAndMinusOneDrawsOne) {
    uint64_t value = 1;
    const Value setting = seed(value);
    EXPECT_EQ(error_of(setting, "18446744073709551615"), "");
    EXPECT_EQ(value, UINT64_MAX);
    for (const char* text : {"-2", "18446744073709551616", "100000000000000000000000", "1e3", "", "-1.0", "0x1"})
        EXPECT_NE(error_of(setting, text), "") << text;
    EXPECT_EQ(value, UINT64_MAX);
    EXPECT_EQ(error_of(setting, "-1"), "");
    const uint64_t first = value;
    EXPECT_EQ(error_of(setting, "-1"), "");
    EXPECT_NE(first, value) << "two of 64 random bits are equal once in 2^64";
}

TEST(Setting, AListHasNumbersWithCommasAndReplacesItsDefaultOnce) {
    std::vector<int> value = {512};
    const Value setting = numbers(value, 0, 4096);
    EXPECT_EQ(setting.takes, Value::Takes::text_each_time);
    EXPECT_EQ(setting.shown_default, "512");
    EXPECT_EQ(error_of(setting, "1,2,3"), "");
    EXPECT_EQ(value, (std::vector<int>{1, 2, 3}));
    EXPECT_EQ(error_of(setting, "4"), "");
    EXPECT_EQ(value, (std::vector<int>{1, 2, 3, 4}));
    for (const char* text : {"", ",", "1,", ",1", "1,,2", "1 2", "1;2", "1,-2", "1,4097"})
        EXPECT_NE(error_of(setting, text), "") << text;
}

TEST(Setting, RangesGoUpwards) {
    Ranges value;
    const Value setting = ranges(value);
    EXPECT_EQ(error_of(setting, "0-2,7"), "");
    EXPECT_EQ(value, (Ranges{{0, 2}, {7, 7}}));
    for (const char* text : {"5-2", "-1", "1-", "-", "1--2", "a", "", "0-2,"})
        EXPECT_EQ(
            error_of(setting, text),
            fmt::format("--flag is '{}', but must be a range such as 3 or 0-5, or several with commas between them",
                        text));
}

TEST(Setting, AmountsOfMemoryHaveUnits) {
    std::optional<int64_t> value;
    const Value setting = bytes(value);
    for (const auto& [text, wanted] : std::vector<std::pair<std::string, int64_t>>{{"1000000", 1000000},
                                                                                   {"100K", 102400},
                                                                                   {"1.5M", 1572864},
                                                                                   {"8G", int64_t{8} << 30},
                                                                                   {"4T", int64_t{4} << 40}}) {
        EXPECT_EQ(error_of(setting, text), "") << text;
        EXPECT_EQ(value, wanted) << text;
    }
    for (const char* text : {"lots", "0", "-1G", "G", "8GB", "1e30", "nan", "infG", "", "8 G"})
        EXPECT_NE(error_of(setting, text), "") << text;
}

TEST(Setting, AChoiceIsOneOfItsNames) {
    enum class Colour : uint8_t { red, green };
    Colour value = Colour::green;
    const Value setting = choice(value, {{"red", Colour::red}, {"green", Colour::green}});
    EXPECT_EQ(setting.shown_default, "green");
    EXPECT_EQ(setting.kind, "red|green");
    EXPECT_EQ(error_of(setting, "red"), "");
    EXPECT_EQ(value, Colour::red);
    EXPECT_EQ(error_of(setting, "Red"), "--flag is 'Red', but must be one of red, green");
    EXPECT_NE(error_of(setting, ""), "");
}

TEST(Setting, AWordStandsForNoNumber) {
    std::optional<int64_t> value = 3;
    const Value setting = number_or(value, "auto", 0);
    EXPECT_EQ(error_of(setting, "auto"), "");
    EXPECT_FALSE(value.has_value());
    EXPECT_EQ(error_of(setting, "0"), "");
    EXPECT_EQ(value, 0);
    EXPECT_EQ(error_of(setting, "some"), "--flag is 'some', but must be auto or a whole number of at least 0");
}

}  // namespace
}  // namespace invar::app
