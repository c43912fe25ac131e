// Makes text from a file safe for a sentence or a JSON value: it escapes characters that a terminal would obey and
// bytes that are not UTF-8. It shortens long names, because a hostile file may carry a key of a gigabyte.
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
