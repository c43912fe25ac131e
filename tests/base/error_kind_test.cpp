// Kinds of errors: what fail() sets, what passes on, and what the table says of each kind.
#include "base/error_kind.h"

#include <gtest/gtest.h>

#include <set>
#include <string_view>

namespace invar {
namespace {

Result<int> lacking(int bytes) { return fail(ErrorKind::out_of_memory, "no memory for {} bytes", bytes); }

Result<void> passing_on() {
    TRY_ASSIGN(const int value, lacking(3));
    return value == 0 ? fail("zero") : Result<void>();
}

TEST(ErrorKindTest, FailKeepsItsMessageAndIsBadInputUnlessAKindIsNamed) {
    const Result<int> plain = fail("{} is no number", "x");
    EXPECT_EQ(plain.error().kind, ErrorKind::bad_input);
    EXPECT_EQ(plain.error().message, "x is no number");
    EXPECT_EQ(lacking(3).error().kind, ErrorKind::out_of_memory);
    EXPECT_EQ(lacking(3).error().message, "no memory for 3 bytes");
}

TEST(ErrorKindTest, AnErrorThatIsPassedOnKeepsItsKind) {
    const Result<void> passed = passing_on();
    EXPECT_EQ(passed.error().kind, ErrorKind::out_of_memory);
    EXPECT_EQ(passed.error().message, "no memory for 3 bytes");
}

TEST(ErrorKindTest, ExitCodesTellMistakesOfTheUserFromFailuresOfTheMachine) {
    EXPECT_EQ(facts_of(ErrorKind::bad_input).exit_code, 2);
    EXPECT_EQ(facts_of(ErrorKind::not_found).exit_code, 2);
    EXPECT_EQ(facts_of(ErrorKind::unsupported).exit_code, 2);
    EXPECT_EQ(facts_of(ErrorKind::io).exit_code, 2);
    EXPECT_EQ(facts_of(ErrorKind::out_of_memory).exit_code, 3);
    EXPECT_EQ(facts_of(ErrorKind::busy).exit_code, 3);
    EXPECT_EQ(facts_of(ErrorKind::numeric).exit_code, 4);
    EXPECT_EQ(facts_of(ErrorKind::device_lost).exit_code, 5);
    EXPECT_EQ(facts_of(ErrorKind::internal).exit_code, 70);
}

TEST(ErrorKindTest, EveryKindHasANameOfItsOwn) {
    std::set<std::string_view> names;
    for (int kind = 0; kind <= static_cast<int>(ErrorKind::internal); ++kind)
        names.insert(facts_of(static_cast<ErrorKind>(kind)).name);
    EXPECT_EQ(names.size(), static_cast<size_t>(ErrorKind::internal) + 1);
    EXPECT_EQ(names.count(""), 0U);
}

}  // namespace
}  // namespace invar
