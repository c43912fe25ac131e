// One pass from left to right. Every atom is written out, and its beginning is kept for a quantifier that may follow.
// Escapes and classes are read in oniguruma_class.h.
#include "text/tokenizer/oniguruma.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "text/tokenizer/oniguruma_class.h"
#include "text/tokenizer/utf8.h"

namespace invar {
namespace {

constexpr size_t kMostExpressionBytes = size_t{1} << 16;

class Translation : OnigurumaReader {
  public:
    explicit Translation(std::string_view expression) : OnigurumaReader(expression) {}

    Result<std::string> run() {
        while (at_ < text_.size()) TRY(step());
        return std::move(out_);
    }

  private:
    static constexpr size_t kNone = SIZE_MAX;

    void put_atom(std::string_view atom) {
        atom_ = out_.size();
        out_ += atom;
    }

    Result<void> step() {
        const char first = text_[at_];
        switch (first) {
            case '\\':
                return read_escape();
            case '[': {
                ++at_;
                TRY_ASSIGN(const ClassSet set, read_class(0));
                put_atom(pattern_of(set));
                return {};
            }
            case '(':
                return open_group();
            case ')':
                ++at_;
                if (groups_.empty()) return refuse("a ')' without '('");
                atom_ = groups_.back();
                groups_.pop_back();
                out_ += ')';
                return {};
            case '|':
                ++at_;
                atom_ = kNone;
                out_ += '|';
                return {};
            case '^':
            case '$':
                ++at_;
                put_atom(first == '^' ? "(?m:^)" : "(?m:$)");  // in Ruby's syntax they match at the ends of lines
                return {};
            case '*':
            case '+':
            case '?':
                return read_quantifier();
            case '{':
                if (braces_end()) return read_quantifier();
                ++at_;
                put_atom("\\{");
                return {};
            default:
                return read_literal();
        }
    }

    Result<void> read_literal() {
        const Utf8Step character = read_utf8(text_.substr(at_));
        put_atom(text_.substr(at_, character.bytes));
        at_ += character.bytes;
        return {};
    }

    // The place behind the `{n}`, `{n,}`, `{,m}` or `{n,m}` that stands at `at_`.
    std::optional<size_t> braces_end() const {
        size_t at = at_ + 1;
        const auto digits = [&] {
            const size_t begin = at;
            while (at < text_.size() && text_[at] >= '0' && text_[at] <= '9') ++at;
            return at > begin;
        };
        bool any = digits();
        if (at < text_.size() && text_[at] == ',') {
            ++at;
            any = digits() || any;
        }
        if (!any || at >= text_.size() || text_[at] != '}') return std::nullopt;
        return at + 1;
    }

    Result<void> read_quantifier() {
        if (atom_ == kNone) return refuse("a quantifier with nothing before it");
        const bool is_interval = text_[at_] == '{';
        const size_t end = is_interval ? *braces_end() : at_ + 1;
        std::string quantifier(text_.substr(at_, end - at_));
        if (quantifier.starts_with("{,")) quantifier.insert(1, 1, '0');
        at_ = end;
        out_ += quantifier;
        if (ends()) return {};
        const char behind = text_[at_];
        const bool counts_once = is_interval && quantifier.find(',') == std::string::npos;
        if (is_interval && (behind == '+' || (behind == '?' && counts_once))) {
            // In Ruby's syntax this is neither possessive nor lazy: the whole is repeated.
            ++at_;
            out_.insert(atom_, "(?:");
            out_.append(")").push_back(behind);
        } else if (behind == '?' || behind == '+') {
            ++at_;
            out_ += behind;
        }
        atom_ = kNone;
        return {};
    }

    Result<void> open_group() {
        const size_t begin = out_.size();
        ++at_;
        std::string opening = "(";
        if (next_is("?")) {
            constexpr std::string_view kSame[] = {"?:", "?=", "?!", "?<=", "?<!", "?>"};
            const auto same =
                std::find_if(std::begin(kSame), std::end(kSame), [&](auto kind) { return next_is(kind); });
            if (same != std::end(kSame)) {
                opening += *same;
                at_ += same->size();
            } else if (next_is("?#")) {
                const size_t close = text_.find(')', at_);
                if (close == std::string_view::npos) return refuse("a comment without end");
                at_ = close + 1;
                return {};
            } else {
                TRY_ASSIGN(opening, read_options());
                if (opening.ends_with(')')) {  // it sets options for the rest of the group
                    atom_ = kNone;
                    out_ += opening;
                    return {};
                }
            }
        }
        groups_.push_back(begin);
        out_ += opening;
        atom_ = kNone;
        return {};
    }

    // Reads `(?i:`, `(?i)`, `(?m-i:` and the like. `m` lets the dot match line breaks.
    Result<std::string> read_options() {
        std::string opening = "(?";
        for (++at_; !ends(); ++at_) {
            const char option = text_[at_];
            if (option == 'i' || option == '-') {
                opening += option;
            } else if (option == 'm') {
                opening += 's';
            } else if (option == ':' || option == ')') {
                ++at_;
                return opening + option;
            } else {
                break;
            }
        }
        return refuse("a kind of group");
    }

    Result<void> read_escape() {
        if (at_ + 1 >= text_.size()) return refuse("a '\\' with nothing behind it");
        TRY_ASSIGN(const auto set, read_set_escape());
        if (set) {
            put_atom(fmt::format("[{}{}]", set->negated ? "^" : "", set->items));
            return {};
        }
        TRY_ASSIGN(const auto character, read_character_escape());
        if (character) {
            put_atom(fmt::format("\\x{{{:X}}}", static_cast<uint32_t>(*character)));
            return {};
        }
        const std::string word = fmt::format("[{}]", kWordItems);
        const char kind = text_[at_ + 1];
        switch (kind) {
            case 'b':
                put_atom(fmt::format("(?:(?<={0})(?!{0})|(?<!{0})(?={0}))", word));
                break;
            case 'B':
                put_atom(fmt::format("(?:(?<={0})(?={0})|(?<!{0})(?!{0}))", word));
                break;
            case 'A':
                put_atom("\\A");
                break;
            case 'G':  // where the search begins, that is, behind the last match
                put_atom("\\G");
                break;
            case 'z':
                put_atom("\\z");
                break;
            case 'Z':
                put_atom("(?=\\n?\\z)");
                break;
            case 'R':
                put_atom("(?>\\r\\n|[\\n-\\r\\x{85}\\x{2028}\\x{2029}])");
                break;
            case 'X':
                put_atom("\\X");
                break;
            default:
                return refuse(fmt::format("'\\{}'", kind));
        }
        at_ += 2;
        return {};
    }

    std::string out_;
    size_t atom_ = kNone;         // where in `out_` the atom begins that a quantifier would repeat
    std::vector<size_t> groups_;  // where in `out_` the open groups begin
};

}  // namespace

Result<std::string> pcre2_from_oniguruma(std::string_view expression) {
    if (expression.size() > kMostExpressionBytes) {
        return fail("the expression has {} bytes, at most {} are supported", expression.size(), kMostExpressionBytes);
    }
    if (find_invalid_utf8(expression)) return fail("the expression is not valid UTF-8");
    return Translation(expression).run();
}

}  // namespace invar
