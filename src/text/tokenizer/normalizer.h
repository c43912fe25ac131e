// What a tokenizer makes of a text before it cuts it: Unicode normal forms, lower case, replacements. One step for each
// normaliser of tokenizer.json; its meaning is that of the `tokenizers` library, whose results the tests compare.
// Unicode is utf8proc's (version 14), so a newer character counts as unassigned.
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
struct StripAccents {};  // takes all combining marks away
struct Nmt {};           // takes control characters away and makes a space of every kind of space
struct Prepend {
    std::string text;  // before a text that is not empty
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
// sentencepiece's own: the longest replacements, one space before the text, spaces as marks, and perhaps no two in a
// row and none at the ends. Texts of `kept` stay as they are.
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
        bool keeps_start = true;  // the first character is, or stands before, the first one of the text as given
    };
    // `text` must be valid UTF-8. Errors: a Replace whose search exceeds its limit.
    Result<Text> normalize(std::string_view text, Pattern::Workspace& workspace) const;

  private:
    std::vector<normalize::Step> steps_;
};

}  // namespace invar
