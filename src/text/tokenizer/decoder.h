// How tokens become text again: the decoders of tokenizer.json, and the space that GGUF's SentencePiece puts before a
// text. Most of it concerns one token at a time (piece_of); what depends on the place in the text is in the other
// fields, which TokenStream obeys (tokenizer.h). Source: the decoders of the `tokenizers` library, whose texts the
// tests compare.
#pragma once

#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "text/tokenizer/pattern.h"

namespace invar {

namespace decode {

struct ByteLevel {};     // stand-ins become bytes
struct ByteFallback {};  // "<0x0A>" becomes a byte
struct Replace {
    Pattern pattern;
    std::string content;
};
struct Metaspace {
    std::string mark;  // becomes a space, and nothing in the first token where `drops_first`
    bool drops_first;
};
struct Strip {
    std::string character;
    size_t start, stop;  // so many at most are taken away on either side
};
struct WordPiece {
    std::string prefix;  // joins a token to the one before; others begin with a space
    bool cleanup;        // takes away spaces before punctuation
};
struct Suffix {
    std::string suffix;  // the end of a word: becomes a space, and nothing in the last token
};

using Step = std::variant<ByteLevel, ByteFallback, Replace, Metaspace, Strip, WordPiece, Suffix>;

}  // namespace decode

struct Decoder {
    std::vector<decode::Step> steps;

    // In the text as a whole.
    decode::Strip strip_text = {{}, 0, 0};    // nothing where the counts are 0
    bool joins_with_space = false;            // where a file has no decoder: tokens with a space between them
    bool first_is_special = false;            // the first token of a text reads differently
    bool drops_last_space = false;            // a space at the end of the last token
    bool drops_space_after_specials = false;  // GGUF's SentencePiece: at the begin and after special tokens

    // The bytes of a token whose text is `text`. `added`: it stands beside the model's vocabulary, so it is not spelled
    // in stand-ins of bytes.
    std::string piece_of(std::string_view text, bool added, bool first) const;
};

}  // namespace invar
