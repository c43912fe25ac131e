// Cuts a text into words before a model sees it, in steps: one for each pre-tokeniser of tokenizer.json, with the
// meaning it has in the `tokenizers` library. pre_tokenizer.h has the lists of steps that GGUF names.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "text/tokenizer/pattern.h"

namespace invar {

// What happens to a match of the pattern: it is removed, becomes a word, joins the word before or behind it, or becomes
// one word with the matches next to it.
enum class SplitBehavior : uint8_t { removed, isolated, merged_with_previous, merged_with_next, contiguous };

namespace split {

struct ByPattern {
    Pattern pattern;
    SplitBehavior behavior;
    bool invert = false;  // treats what lies between matches as the match
};
// Replaces spaces by `mark`, puts one mark before the text, and begins words at marks.
struct Metaspace {
    enum class Prepend : uint8_t { always, first, never };
    std::string mark;
    Prepend prepend;
    std::optional<Pattern> cut;  // matches the mark, if it cuts
};
// Replaces every byte by its printable stand-in, unless the model works on bytes.
struct ByteLevel {
    bool add_prefix_space;
    bool writes_stand_ins = true;
};

using Step = std::variant<ByPattern, Metaspace, ByteLevel>;

}  // namespace split

class WordSplitter {
  public:
    void add(split::Step step) { steps_.push_back(std::move(step)); }
    std::vector<split::Step>& steps() { return steps_; }
    const std::vector<split::Step>& steps() const { return steps_; }

    // A text and its words. Steps may rewrite the text.
    struct Work {
        Pattern::Workspace search;
        std::string text;
        std::vector<Span> words;  // ranges of `text`, in order, none of them empty
        bool starts_text = true;  // the first word is at the beginning of the whole text
        std::vector<Span> matches, pieces;
        std::string rewritten;
    };
    // The caller sets `work.text` (valid UTF-8) and `work.starts_text`. Errors: a search exceeds its limit.
    Result<void> split(Work& work) const;

  private:
    std::vector<split::Step> steps_;
};

}  // namespace invar
