// One regular expression of a pre-tokeniser, compiled once, and its matches in a piece of text. The only file of the
// project behind which PCRE2 stands. `\s` and `\S` mean Unicode White_Space here, which is not what PCRE2 makes of them
// (it adds U+180E). Which expressions exist: pre_tokenizer.cpp.
#pragma once

#include <cstddef>
#include <memory>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace invar {

// A half-open range of bytes of the text it came from.
struct Span {
    size_t begin = 0;
    size_t end = 0;
};

class Pattern {
  public:
    // `expression` is ours, so a syntax error is our bug; it is still returned, not thrown.
    static Result<Pattern> compile(std::string_view expression);

    // What a search needs besides the pattern; one for each thread or call, usable with every Pattern.
    class Workspace {
      public:
        Workspace();
        ~Workspace();
        Workspace(const Workspace&) = delete;
        Workspace& operator=(const Workspace&) = delete;

      private:
        friend class Pattern;
        struct State;
        std::unique_ptr<State> state_;
    };

    // Cuts text[piece] into its matches and what lies between them, and appends both in order (offsets count from the
    // start of `text`). The expression sees the piece alone: `(?!\S)` is true at its end. `text` must be valid UTF-8.
    // An error when the search exceeds its limit, which grows with the piece (16 backtracks a byte).
    Result<void> split(std::string_view text, Span piece, Workspace& workspace, std::vector<Span>& pieces) const;

    Pattern(Pattern&&) noexcept;
    Pattern& operator=(Pattern&&) noexcept;
    ~Pattern();

  private:
    struct Compiled;
    explicit Pattern(std::unique_ptr<Compiled> compiled);
    std::unique_ptr<Compiled> compiled_;
};

}  // namespace invar
