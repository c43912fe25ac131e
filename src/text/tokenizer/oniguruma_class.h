// Reads the parts of an Oniguruma pattern below the level of groups: escapes, properties and classes. A class is read
// into a small tree, because PCRE2 has neither classes within classes nor intersections. Groups and quantifiers are
// read in oniguruma.cpp.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace invar {

inline constexpr std::string_view kWordItems = "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}";  // `\w`, inside brackets

// One operand of a class: characters, in the form in which PCRE2 lists them between brackets, and nested classes.
struct ClassSet {
    bool negated = false;
    std::string items;
    std::vector<ClassSet> nested;
    std::vector<ClassSet> intersected;  // further operands of `&&`

    bool is_simple() const { return nested.empty() && intersected.empty(); }
};

// A pattern that matches one character of the set.
std::string pattern_of(const ClassSet& set);

class OnigurumaReader {
  public:
    explicit OnigurumaReader(std::string_view expression) : text_(expression) {}

  protected:
    // What an escape that stands for several characters becomes inside a class.
    struct Items {
        std::string items;
        bool negated = false;
    };

    tl::unexpected<Error> refuse(std::string_view what) const;
    bool ends() const { return at_ >= text_.size(); }
    bool next_is(std::string_view wanted) const { return text_.substr(at_).starts_with(wanted); }
    // Nothing if the escape at `at_` is of another kind; `at_` then stays where it is.
    Result<std::optional<Items>> read_set_escape();
    Result<std::optional<char32_t>> read_character_escape();
    // Starts behind the '[' and ends behind the ']'.
    Result<ClassSet> read_class(int depth);

    std::string_view text_;
    size_t at_ = 0;

  private:
    Result<Items> items_of_property(std::string_view name, bool negated) const;
    Result<std::optional<char32_t>> read_code_point(char kind);
    Result<void> read_class_item(ClassSet& operand, int depth);
    Result<char32_t> read_class_character();
};

}  // namespace invar
