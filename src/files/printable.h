// Text from a file, made safe for a sentence or a JSON value: escapes what a terminal would obey and what is not UTF-8.
// Names longer than a line are shortened, because a hostile file may carry a key of a gigabyte.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace invar {

// True for well-formed UTF-8 (no overlong forms, no surrogates, nothing above U+10FFFF).
bool is_utf8(std::string_view text);

// Control characters, and bytes that are not part of well-formed UTF-8, become \xNN. At most `most_bytes` bytes of the
// text are shown; a cut is marked "...".
std::string printable(std::string_view text, size_t most_bytes = 96);

}  // namespace invar
