// UTF-8 as the tokenizers need it: it checks texts, measures characters, and turns bytes that arrive token by token
// into text that may be shown. "Valid" is the Unicode standard's table 3-7: no overlong forms, no surrogates, nothing
// above U+10FFFF. It does not normalise.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace invar {

// The result of reading one sequence. A sequence ends at the first byte that cannot continue it (the "maximal subpart"
// of the Unicode standard, chapter 3.9, which Python's errors="replace" also uses).
struct Utf8Step {
    enum class State : uint8_t { whole, invalid, unfinished };
    State state = State::whole;
    uint8_t bytes = 1;       // how many bytes were read: 1 to 4 if whole, otherwise 1 to 3
    char32_t character = 0;  // if whole
};

// Reads the sequence at the start of `text`, which must not be empty. `unfinished`: it is valid so far, but the text
// ends before it does.
Utf8Step read_utf8(std::string_view text);

// The offset of the first byte that is not valid UTF-8; nothing if all are.
std::optional<size_t> find_invalid_utf8(std::string_view text);

// Appends a character below U+110000.
void append_utf8(std::string& text, char32_t character);

// Whether the character has the property White_Space (PropList.txt, 25 characters), which is `\s` in every tokenizer
// here.
bool is_white_space(char32_t character);

// Takes the bytes of tokens and gives whole characters. Bytes that cannot become a character give one U+FFFD per
// maximal subpart, as soon as that is certain; finish() does it for what is still open at the end. The result does not
// depend on how the bytes are cut into calls of feed().
class Utf8Stream {
  public:
    std::string feed(std::string_view bytes);
    std::string finish();

  private:
    std::string waiting_;  // the start of a sequence, at most 3 bytes
};

}  // namespace invar
