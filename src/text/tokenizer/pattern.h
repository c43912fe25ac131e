// One regular expression of a tokenizer, compiled once, and its matches in a piece of text. The only file of the
// project behind which PCRE2 stands. Expressions are written as tokenizer.json has them, in Oniguruma's syntax
// (oniguruma.h). Which expressions GGUF's names mean: pre_tokenizer.cpp.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
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
    // Errors: syntax that is wrong or has no equal in PCRE2.
    static Result<Pattern> compile(std::string_view expression);
    // Matches `text` and nothing else; never, when it is empty.
    static Result<Pattern> literal(std::string_view text);

    // As given to compile(); empty for a literal.
    const std::string& expression() const { return expression_; }

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

    // Appends the matches in text[piece], in order; an empty one counts unless it touches the end of the one before.
    // Offsets count from the start of `text`. The expression sees the piece alone: `(?!\S)` is true at its end. `text`
    // must be valid UTF-8. An error when a search exceeds its limit, which grows with the piece (16 backtracks a byte).
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
