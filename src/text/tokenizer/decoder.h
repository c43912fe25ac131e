// Turns tokens back into text: the decoders of tokenizer.json, and the space that GGUF's SentencePiece puts before a
// text. piece_of() handles one token at a time. What depends on the place in the text is in the other fields, which
// TokenStream applies (tokenizer.h). Source: the decoders of the `tokenizers` library; the tests compare with its
// texts.
#pragma once

#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "text/tokenizer/pattern.h"

namespace invar {

namespace decode {

struct ByteLevel {};     // stand-ins become the bytes they stand for
struct ByteFallback {};  // "<0x0A>" becomes a byte
struct Replace {
    Pattern pattern;
    std::string content;
};
struct Metaspace {
    std::string mark;  // becomes a space; if `drops_first`, it is dropped in the first token
    bool drops_first;
};
struct Strip {
    std::string character;
    size_t start, stop;  // at most this many are removed on each side
};
struct WordPiece {
    std::string prefix;  // joins a token to the one before it; other tokens begin with a space
    bool cleanup;        // removes spaces before punctuation
};
struct Suffix {
    std::string suffix;  // marks the end of a word: becomes a space, and is dropped in the last token
};

using Step = std::variant<ByteLevel, ByteFallback, Replace, Metaspace, Strip, WordPiece, Suffix>;

}  // namespace decode

struct Decoder {
    std::vector<decode::Step> steps;

    // Rules for the text as a whole.
    decode::Strip strip_text = {{}, 0, 0};    // counts of 0 strip nothing
    bool joins_with_space = false;            // for files without a decoder: tokens with spaces between them
    bool first_is_special = false;            // the first token of a text is decoded differently
    bool drops_last_space = false;            // drops a space at the end of the last token
    bool drops_space_after_specials = false;  // GGUF's SentencePiece: drops one at the start and after special tokens

    // The bytes of a token whose text is `text`. `added`: the token is not in the model's own vocabulary, so its text
    // is not spelled in stand-ins of bytes.
    std::string piece_of(std::string_view text, bool added, bool first) const;
};

}  // namespace invar
