// How a text is cut into words before a model sees it, in steps: one for each pre-tokeniser of tokenizer.json, with the
// meaning that the `tokenizers` library gives them. GGUF names whole lists of steps: pre_tokenizer.h.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "text/tokenizer/pattern.h"

namespace invar {

// What becomes of a match of a pattern that cuts: dropped, a word of its own, part of the word before or behind it, or
// one word with the matches next to it.
enum class SplitBehavior : uint8_t { removed, isolated, merged_with_previous, merged_with_next, contiguous };

namespace split {

struct ByPattern {
    Pattern pattern;
    SplitBehavior behavior;
    bool invert = false;  // what lies between matches counts as the match
};
// Spaces become `mark`, one mark is put before, and words begin at marks.
struct Metaspace {
    enum class Prepend : uint8_t { always, first, never };
    std::string mark;
    Prepend prepend;
    std::optional<Pattern> cut;  // the mark, where it cuts
};
// Every byte becomes its printable stand-in, unless the model works on bytes itself.
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

    // Words of a text, which steps may rewrite.
    struct Work {
        Pattern::Workspace search;
        std::string text;
        std::vector<Span> words;  // of `text`, in order, none empty
        bool starts_text = true;  // the first word begins where the whole text begins
        std::vector<Span> matches, pieces;
        std::string rewritten;
    };
    // `work.text` (valid UTF-8) and `work.starts_text` are given; the rest is made. Errors: a search beyond its limit.
    Result<void> split(Work& work) const;

  private:
    std::vector<split::Step> steps_;
};

}  // namespace invar
