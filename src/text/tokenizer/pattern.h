// One regular expression of a tokenizer, compiled once, and its matches in a piece of text. Only this file uses PCRE2.
// Expressions are written as in tokenizer.json, in Oniguruma's syntax (oniguruma.h). pre_tokenizer.cpp says which
// expressions GGUF's names stand for.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace invar {

// A half-open range of bytes of a text.
struct Span {
    size_t begin = 0;
    size_t end = 0;
};

class Pattern {
  public:
    // Errors: syntax that is wrong or has no equivalent in PCRE2.
    static Result<Pattern> compile(std::string_view expression);
    // Matches exactly `text`. An empty text never matches.
    static Result<Pattern> literal(std::string_view text);

    // As given to compile(); empty for a literal.
    const std::string& expression() const { return expression_; }

    // The working memory of a search, one per thread or call. It can be used with every Pattern.
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

    // Appends the matches in text[piece], in order; an empty one counts unless it touches the end of the previous one.
    // Offsets count from the start of `text`. The expression sees the piece alone: `(?!\S)` is true at its end. `text`
    // must be valid UTF-8. Errors: a search exceeds its limit, which grows with the piece (16 backtracks per byte).
    Result<void> find_all(std::string_view text, Span piece, Workspace& workspace, std::vector<Span>& matches) const;

    Pattern(Pattern&&) noexcept;
    Pattern& operator=(Pattern&&) noexcept;
    ~Pattern();

  private:
    struct Compiled;
    explicit Pattern(std::unique_ptr<Compiled> compiled);
    static Result<Pattern> from_pcre2(const std::string& spelled);
    std::unique_ptr<Compiled> compiled_;
    std::string expression_;
};

}  // namespace invar
