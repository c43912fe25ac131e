// UTF-8 as the tokenizers need it: is this text valid, how long is a character, and how do bytes that arrive token by
// token become text that may be shown. "Valid" is the Unicode standard's table 3-7: no overlong forms, no surrogates,
// nothing above U+10FFFF. It does not normalise; what goes in comes out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace invar {

// One step of reading UTF-8. A sequence is cut at the first byte that cannot continue it (the "maximal subpart" of the
// Unicode standard, chapter 3.9, which Python's errors="replace" follows as well).
struct Utf8Step {
    enum class State : uint8_t { whole, invalid, unfinished };
    State state = State::whole;
    uint8_t bytes = 1;       // consumed: 1 to 4 when whole, 1 to 3 otherwise
    char32_t character = 0;  // when whole
};

// Reads the sequence at the start of `text`, which must not be empty. `unfinished`: valid as far as it goes, and the
// text ends before it does.
Utf8Step read_utf8(std::string_view text);

// The offset of the first byte that is not valid UTF-8.
std::optional<size_t> find_invalid_utf8(std::string_view text);

// Appends a character below U+110000.
void append_utf8(std::string& text, char32_t character);

// Unicode White_Space (PropList.txt, 25 characters), which is what `\s` means to every tokenizer here.
bool is_white_space(char32_t character);

// Streaming: takes token bytes, gives back only whole characters. Bytes that can never become a character turn into one
// U+FFFD for each maximal subpart, as soon as that is certain; what is still open at the end, in finish().
// feed() of any split of some bytes, joined and with finish() appended, is the same text.
class Utf8Stream {
  public:
    std::string feed(std::string_view bytes);
    std::string finish();

  private:
    std::string waiting_;  // the start of a sequence, at most 3 bytes
};

}  // namespace invar
