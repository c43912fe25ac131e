// "text %s" % values: printf-style formatting as Python's str does it.
#include <cmath>

#include "jinja/characters.h"
#include "jinja/compare.h"
#include "jinja/numbers.h"
#include "jinja/operators.h"
#include "jinja/text.h"

namespace invar::jinja {

namespace {

class PercentFormatter {
  public:
    PercentFormatter(Runtime& runtime, const Value& format, const Value& values)
        : runtime_(runtime), text_(format.text()), is_markup_(format.is_markup()), values_(values), out_(runtime) {}

    Result<Value> run() {
        while (position_ < text_.size()) {
            const size_t percent = std::min(text_.find('%', position_), text_.size());
            TRY(out_.append(text_.substr(position_, percent - position_)));
            position_ = percent;
            if (position_ == text_.size()) break;
            ++position_;
            TRY(conversion());
        }
        const bool is_mapping = values_.is(Kind::kDict);
        const size_t given = values_.is(Kind::kTuple) ? values_.as<Sequence>().items.size() : 1;
        // If the one value is a list or another container, it may stay unused, as in Python. A mapping always may.
        const bool may_stay_unused = is_mapping || values_.is(Kind::kList) || values_.is(Kind::kView);
        if (used_ < given && !used_keys_ && !may_stay_unused)
            return fail("a % format uses {} of the {} values it is given", used_, given);
        return runtime_.string(out_.take(), is_markup_);
    }

  private:
    struct Conversion {
        bool minus = false, plus = false, space = false, zero = false, alternate = false;
        int64_t width = 0;
        int64_t precision = -1;
        char type = '\0';
        Value value;
    };

    char peek() const { return position_ < text_.size() ? text_[position_] : '\0'; }

    Result<Value> next_value() {
        const bool is_tuple = values_.is(Kind::kTuple);
        const size_t given = is_tuple ? values_.as<Sequence>().items.size() : 1;
        if (used_ >= given) return fail("a % format needs more than the {} values it is given", given);
        ++used_;
        return is_tuple ? values_.as<Sequence>().items[used_ - 1] : values_;
    }

    Result<int64_t> read_count() {
        if (peek() == '*') {
            ++position_;
            TRY_ASSIGN(const Value value, next_value());
            if (!value.is_integral()) return fail("'*' in a % format needs an integer, not a {}", type_name(value));
            return value.as_integer();
        }
        int64_t count = 0;
        for (; peek() >= '0' && peek() <= '9'; ++position_) {
            count = count * 10 + (peek() - '0');
            if (count > INT32_MAX) return fail("a width in a % format is too large");
        }
        return count;
    }

    Result<void> conversion() {
        Conversion c;
        bool has_value = false;
        if (peek() == '(') {
            const size_t close = closing_parenthesis();
            if (close == std::string_view::npos) return fail("a key in a % format has no ')'");
            if (!values_.is(Kind::kDict))
                return fail("a % format with a key needs a dict, not a {}", type_name(values_));
            const Value* found = values_.as<Dict>().find(text_.substr(position_ + 1, close - position_ - 1));
            if (found == nullptr)
                return fail("a % format names the key '{}', which is not there",
                            text_.substr(position_ + 1, close - position_ - 1));
            c.value = *found;
            has_value = used_keys_ = true;
            position_ = close + 1;
        }
        for (bool more = true; more;) {
            switch (peek()) {
                case '-':
                    c.minus = true, ++position_;
                    break;
                case '+':
                    c.plus = true, ++position_;
                    break;
                case ' ':
                    c.space = true, ++position_;
                    break;
                case '0':
                    c.zero = true, ++position_;
                    break;
                case '#':
                    c.alternate = true, ++position_;
                    break;
                default:
                    more = false;
            }
        }
        TRY_ASSIGN(c.width, read_count());
        if (c.width < 0) c.minus = true, c.width = -c.width;
        if (peek() == '.') {
            ++position_;
            TRY_ASSIGN(c.precision, read_count());
            c.precision = std::max<int64_t>(c.precision, 0);
        }
        if (peek() == 'h' || peek() == 'l' || peek() == 'L') ++position_;
        if (position_ >= text_.size()) return fail("a % format ends in the middle of a conversion");
        c.type = text_[position_++];
        if (c.type == '%') return out_.append("%");
        if (!has_value) {
            TRY_ASSIGN(c.value, next_value());
        }
        return write(c);
    }

    size_t closing_parenthesis() const {
        int depth = 0;
        for (size_t i = position_; i < text_.size(); ++i) {
            if (text_[i] == '(') ++depth;
            if (text_[i] == ')' && --depth == 0) return i;
        }
        return std::string_view::npos;
    }

    Result<void> write(const Conversion& c) {
        switch (c.type) {
            case 's':
            case 'r':
            case 'a':
                return write_text(c);
            case 'c':
                return write_character(c);
            case 'd':
            case 'i':
            case 'u':
            case 'x':
            case 'X':
            case 'o':
                return write_integer(c);
            case 'e':
            case 'E':
            case 'f':
            case 'F':
            case 'g':
            case 'G':
                return write_real(c);
            default:
                return fail("'%{}' is not a conversion of a % format", c.type);
        }
    }

    Result<void> pad(const Conversion& c, const std::string& sign, const std::string& body, bool zeros) {
        const int64_t length = count_characters(sign) + count_characters(body);
        const size_t missing = static_cast<size_t>(std::max<int64_t>(0, c.width - length));
        if (!c.minus && !zeros) TRY(out_.append(missing, ' '));
        TRY(out_.append(sign));
        if (!c.minus && zeros) TRY(out_.append(missing, '0'));
        TRY(out_.append(body));
        return c.minus ? out_.append(missing, ' ') : Result<void>();
    }

    Result<void> write_text(const Conversion& c) {
        std::string text;
        if (c.type == 's') {
            TRY_ASSIGN(text, to_text(runtime_, c.value));
            if (is_markup_ && !c.value.is_markup()) text = escape_html(text);
        } else {
            Text repr(runtime_);
            TRY(append_repr(repr, runtime_, c.value));
            text = repr.take();
            if (c.type == 'a' && count_characters(text) != static_cast<int64_t>(text.size()))
                return fail("'%a' of text that is not ASCII is not supported");
            if (is_markup_) text = escape_html(text);
        }
        if (c.precision >= 0) text.resize(offset_of(text, c.precision));
        return pad(c, "", text, false);
    }

    Result<void> write_character(const Conversion& c) {
        std::string text;
        if (c.value.is(Kind::kString) && count_characters(c.value.text()) == 1) {
            text = c.value.text();
        } else if (c.value.is_integral()) {
            const int64_t code = c.value.as_integer();
            if (code < 0 || code > 0x10FFFF || (code >= 0xD800 && code < 0xE000))
                return fail("{} is not a character", code);
            append_utf8(text, static_cast<char32_t>(code));
        } else {
            return fail("'%c' needs a character or an integer, not a {}", type_name(c.value));
        }
        return pad(c, "", text, false);
    }

    std::string sign_of(const Conversion& c, bool is_negative) const {
        return is_negative ? "-" : c.plus ? "+" : c.space ? " " : "";
    }

    Result<void> write_integer(const Conversion& c) {
        if (c.value.is(Kind::kUndefined)) return fail_undefined(c.value);
        if (!c.value.is_number()) return fail("'%{}' needs a number, not a {}", c.type, type_name(c.value));
        const bool is_decimal = c.type == 'd' || c.type == 'i' || c.type == 'u';
        if (c.value.is(Kind::kFloat) && !is_decimal) return fail("'%{}' needs an integer, not a float", c.type);
        int64_t value = c.value.as_integer();
        if (c.value.is(Kind::kFloat)) {
            TRY_ASSIGN(value, truncated(c.value.as_real()));
        }
        const uint64_t magnitude = value < 0 ? 0 - static_cast<uint64_t>(value) : static_cast<uint64_t>(value);
        std::string digits = is_decimal      ? fmt::format("{}", magnitude)
                             : c.type == 'x' ? fmt::format("{:x}", magnitude)
                             : c.type == 'X' ? fmt::format("{:X}", magnitude)
                                             : fmt::format("{:o}", magnitude);
        if (c.precision > static_cast<int64_t>(digits.size())) {
            const size_t zeros = static_cast<size_t>(c.precision) - digits.size();
            TRY(runtime_.reserve(static_cast<int64_t>(zeros)));
            digits.insert(0, zeros, '0');
        }
        const std::string prefix = is_decimal || !c.alternate ? "" : std::string("0") + c.type;
        return pad(c, sign_of(c, value < 0) + prefix, digits, c.zero);
    }

    Result<void> write_real(const Conversion& c) {
        if (c.value.is(Kind::kUndefined)) return fail_undefined(c.value);
        if (!c.value.is_number()) return fail("'%{}' needs a number, not a {}", c.type, type_name(c.value));
        if (c.alternate) return fail("the flag '#' of a % format is not supported for numbers with a fraction");
        if (c.precision > 1000) return fail("a % format has a precision beyond 1000");
        const double value = to_real(c.value);
        const bool is_general = (c.type | 0x20) == 'g';
        int precision = c.precision < 0 ? 6 : static_cast<int>(c.precision);
        if (is_general) precision = std::max(precision, 1);
        const bool is_negative = std::signbit(value) && !std::isnan(value);
        return pad(c, sign_of(c, is_negative), float_text(std::fabs(value), c.type, precision), c.zero);
    }

    Runtime& runtime_;
    std::string_view text_;
    bool is_markup_;
    const Value& values_;
    Text out_;
    size_t position_ = 0;
    size_t used_ = 0;
    bool used_keys_ = false;
};

}  // namespace

Result<Value> percent_format(Runtime& runtime, const Value& format, const Value& values) {
    return PercentFormatter(runtime, format, values).run();
}

}  // namespace invar::jinja
