// Untrusted text in messages: nothing a terminal obeys, nothing that is not UTF-8, no endless line.
#include "files/printable.h"

#include <gtest/gtest.h>

#include <vector>

namespace invar {
namespace {

TEST(Printable, EscapesControlCharactersAndBrokenUtf8) {
    EXPECT_EQ(printable("blk.0.attn_q.weight"), "blk.0.attn_q.weight");
    EXPECT_EQ(printable("Grüße 世界 🌍"), "Grüße 世界 🌍");
    EXPECT_EQ(printable("a\x1b[31m\n"), "a\\x1b[31m\\x0a");
    EXPECT_EQ(printable(std::string_view("\0", 1)), "\\x00");
    EXPECT_EQ(printable("\x7f\xc2\x9b"), "\\x7f\\xc2\\x9b");  // U+009B starts control sequences as well
    EXPECT_EQ(printable("\xff\xc2"), "\\xff\\xc2");
}

TEST(Printable, DoesNotReadPastACutCharacter) {
    for (const char lead : {'\xc2', '\xe2', '\xf0'}) {
        const std::vector<char> exact(1, lead);  // a heap block of one byte: a sanitizer sees any further read
        EXPECT_EQ(printable({exact.data(), 1}).size(), 4u);
    }
}

TEST(Printable, ShortensLongTextsBetweenCharacters) {
    EXPECT_EQ(printable(std::string(200, 'k')), std::string(96, 'k') + "...");
    EXPECT_EQ(printable("ab\xc3\xa9", 3), "ab...");
    EXPECT_EQ(printable("ab\xc3\xa9", 4), "ab\xc3\xa9");
}

TEST(Printable, KnowsWellFormedUtf8) {
    for (const char* good : {"", "a", "\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xed\x9f\xbf", "\xee\x80\x80",
                             "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf"}) {
        EXPECT_TRUE(is_utf8(good));
    }
    for (const char* bad :
         {"\x80", "\xc0\x80", "\xc1\xbf", "\xe0\x9f\xbf", "\xed\xa0\x80", "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80",
          "\xf5\x80\x80\x80", "\xc3", "\xe2\x82", "\xf0\x9f\x98", "\xc3(", "\xe2\x28\xa1"}) {
        EXPECT_FALSE(is_utf8(bad));
        EXPECT_TRUE(is_utf8(printable(bad)));
    }
}

}  // namespace
}  // namespace invar
