// Normalises a text before it is cut: Unicode normal forms, lower case, replacements. There is one step for each
// normaliser of tokenizer.json, with the meaning it has in the `tokenizers` library; the tests compare with its
// results. Unicode is version 14 (utf8proc), so a newer character counts as unassigned.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "text/tokenizer/added_tokens.h"
#include "text/tokenizer/charsmap.h"
#include "text/tokenizer/pattern.h"

namespace invar {

namespace normalize {

enum class Form : uint8_t { nfc, nfd, nfkc, nfkd };
struct UnicodeForm {
    Form form;
};
struct Lowercase {};
struct Strip {
    bool left, right;
};
struct StripAccents {};  // removes all combining marks
struct Nmt {};           // removes control characters and replaces every kind of space by a space
struct Prepend {
    std::string text;  // put before a text that is not empty
};
struct Replace {
    Pattern pattern;
    std::string content;
};
struct Bert {
    bool clean_text, handle_chinese_chars, strip_accents, lowercase;
};
struct Precompiled {
    Charsmap map;
};
// sentencepiece's own step: the longest replacements, one space before the text, spaces written as marks, and
// optionally no two spaces in a row and none at the ends. Occurrences of `kept` are not changed.
struct SentencePiece {
    std::optional<Charsmap> map;
    bool add_dummy_prefix = true, remove_extra_spaces = true;
    AddedTokens kept;
};
struct ByteLevel {};  // writes every byte as its printable stand-in

using Step = std::variant<UnicodeForm, Lowercase, Strip, StripAccents, Nmt, Prepend, Replace, Bert, Precompiled,
                          SentencePiece, ByteLevel>;

}  // namespace normalize

class Normalizer {
  public:
    void add(normalize::Step step) { steps_.push_back(std::move(step)); }
    bool empty() const { return steps_.empty(); }
    const std::vector<normalize::Step>& steps() const { return steps_; }

    struct Text {
        std::string text;
        bool keeps_start = true;  // the text still begins where the given text began
    };
    // `text` must be valid UTF-8. Errors: the search of a Replace exceeds its limit.
    Result<Text> normalize(std::string_view text, Pattern::Workspace& workspace) const;

  private:
    std::vector<normalize::Step> steps_;
};

}  // namespace invar
