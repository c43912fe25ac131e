// The rules are those of jinja2 with trim_blocks and lstrip_blocks on and one trailing newline dropped, with its corner
// cases: a '-' or '+' right behind a begin tag is its sign, and inside open brackets no end tag is recognised.
#include "jinja/lexer.h"

#include "jinja/characters.h"
#include "jinja/string_literal.h"

namespace invar::jinja {

namespace {

constexpr size_t npos = std::string_view::npos;

std::string with_unix_newlines(std::string_view source) {
    std::string out;
    out.reserve(source.size());
    for (size_t i = 0; i < source.size(); ++i) {
        if (source[i] != '\r') {
            out.push_back(source[i]);
        } else if (i + 1 == source.size() || source[i + 1] != '\n') {
            out.push_back('\n');
        }
    }
    if (!out.empty() && out.back() == '\n') out.pop_back();
    return out;
}

bool is_ascii_digit(char c) { return c >= '0' && c <= '9'; }

class Lexer {
  public:
    explicit Lexer(std::string_view source) : source_(source) {}

    Result<std::vector<Token>> run() {
        while (position_ < source_.size()) TRY(read_text());
        tokens_.push_back({TokenKind::kEnd, line_, ""});
        return std::move(tokens_);
    }

  private:
    bool looking_at(std::string_view wanted) const { return source_.substr(position_, wanted.size()) == wanted; }
    char at(size_t offset) const { return position_ + offset < source_.size() ? source_[position_ + offset] : '\0'; }

    tl::unexpected<Error> fail_here(std::string_view what) const { return fail("line {}: {}", line_, what); }

    void advance(size_t count) {
        for (size_t i = 0; i < count; ++i) line_ += source_[position_ + i] == '\n';
        position_ += count;
    }

    void skip_space() {
        const size_t left = source_.size() - position_;
        advance(left - strip_left(source_.substr(position_)).size());
    }

    // Called after an end tag with `sign`: drops the white space that goes with it.
    void finish_tag(char sign) {
        if (sign == '-') {
            skip_space();
        } else if (sign == '\0' && at(0) == '\n') {
            advance(1);
        }
        at_line_start_ = source_[position_ - 1] == '\n';
    }

    // Emits source_[position_, end) as text, stripped as the following tag asks for.
    void emit_text(size_t end, char sign, bool before_print) {
        std::string_view text = source_.substr(position_, end - position_);
        if (sign == '-') {
            text = strip_right(text);
        } else if (sign != '+' && !before_print) {
            const size_t newline = text.rfind('\n');
            const size_t line_begin = newline == npos ? 0 : newline + 1;
            if ((newline != npos || at_line_start_) && strip_left(text.substr(line_begin)).empty())
                text = text.substr(0, line_begin);
        }
        if (!text.empty()) tokens_.push_back({TokenKind::kText, line_, std::string(text)});
        advance(end - position_);
    }

    char sign_at(size_t place) const {
        return place < source_.size() && (source_[place] == '-' || source_[place] == '+') ? source_[place] : '\0';
    }

    Result<void> read_text() {
        size_t tag = position_;
        while (true) {
            tag = source_.find('{', tag);
            if (tag == npos || tag + 1 >= source_.size()) {
                emit_text(source_.size(), '+', true);
                return {};
            }
            const char next = source_[tag + 1];
            if (next == '{' || next == '%' || next == '#') break;
            ++tag;
        }
        const char type = source_[tag + 1];
        const char sign = sign_at(tag + 2);
        emit_text(tag, sign, type == '{');
        const size_t raw_end = type == '%' ? end_of_raw_tag(tag + 2 + (sign != '\0')) : npos;
        if (raw_end != npos) return read_raw(raw_end);
        if (type == '#') {
            advance(2 + (sign != '\0'));
            return read_comment();
        }
        tokens_.push_back({type == '{' ? TokenKind::kPrintBegin : TokenKind::kBlockBegin, line_, ""});
        advance(2 + (sign != '\0'));
        return read_code(type == '{');
    }

    size_t skip_space_from(size_t place) const { return source_.size() - strip_left(source_.substr(place)).size(); }

    // If "raw %}" follows `place`, which is behind "{%" and its sign, gives the place behind it.
    size_t end_of_raw_tag(size_t place) const {
        place = skip_space_from(place);
        if (source_.substr(place, 3) != "raw") return npos;
        place = skip_space_from(place + 3);
        if (source_.substr(place, 2) == "%}") return place + 2;
        if (source_.substr(place, 3) == "-%}") return skip_space_from(place + 3);
        return npos;
    }

    Result<void> read_raw(size_t begin) {
        const int first_line = line_;
        at_line_start_ = source_[begin - 1] == '\n';
        advance(begin - position_);
        for (size_t tag = position_; (tag = source_.find("{%", tag)) != npos; ++tag) {
            const char sign = sign_at(tag + 2);
            size_t place = skip_space_from(tag + 2 + (sign != '\0'));
            if (source_.substr(place, 6) != "endraw") continue;
            place = skip_space_from(place + 6);
            const char end_sign = sign_at(place);
            place += end_sign != '\0';
            if (source_.substr(place, 2) != "%}") continue;
            emit_text(tag, sign, false);
            advance(place + 2 - position_);
            finish_tag(end_sign);
            return {};
        }
        return fail("line {}: this raw block has no {{% endraw %}}", first_line);
    }

    Result<void> read_comment() {
        const size_t end = source_.find("#}", position_);
        if (end == npos) return fail_here("this comment has no end tag '#}'");
        const char sign = end > position_ ? sign_at(end - 1) : '\0';
        advance(end + 2 - position_);
        finish_tag(sign);
        return {};
    }

    // Reads everything up to and including the end tag.
    Result<void> read_code(bool is_print) {
        brackets_.clear();
        const int first_line = line_;
        while (position_ < source_.size()) {
            if (brackets_.empty()) {
                const std::string_view end = is_print ? "}}" : "%}";
                const bool signed_end =
                    (at(0) == '-' || (at(0) == '+' && !is_print)) && source_.substr(position_ + 1, 2) == end;
                if (signed_end || looking_at(end)) {
                    const char sign = signed_end ? at(0) : is_print ? '+' : '\0';
                    tokens_.push_back({is_print ? TokenKind::kPrintEnd : TokenKind::kBlockEnd, line_, ""});
                    advance(signed_end ? 3 : 2);
                    finish_tag(sign);
                    return {};
                }
            }
            TRY(read_token());
        }
        return fail("line {}: this tag has no end '{}'", first_line, is_print ? "}}" : "%}");
    }

    Result<void> read_token() {
        size_t position = position_;
        const char32_t first = decode(source_, position);
        if (is_space(first)) {
            skip_space();
            return {};
        }
        if (is_ascii_digit(at(0))) return read_number();
        if (is_identifier_start(first)) {
            while (position < source_.size()) {
                size_t next = position;
                if (!is_identifier_part(decode(source_, next))) break;
                position = next;
            }
            return emit(TokenKind::kName, position - position_);
        }
        if (first == '"' || first == '\'') return read_string(at(0));
        return read_operator();
    }

    Result<void> emit(TokenKind kind, size_t size) {
        tokens_.push_back({kind, line_, std::string(source_.substr(position_, size))});
        advance(size);
        return {};
    }

    // The size of a run of digits with single underscores between them.
    size_t digits_from(size_t offset) const {
        size_t size = 0;
        while (is_ascii_digit(at(offset + size)) ||
               (size > 0 && at(offset + size) == '_' && is_ascii_digit(at(offset + size + 1))))
            ++size;
        return size;
    }

    // The size of a number in base 2, 8 or 16 after its two-character prefix; 0 if there is none.
    size_t prefixed_digits() const {
        const char letter = static_cast<char>(at(1) | 0x20);
        const std::string_view digits = letter == 'b'   ? "01"
                                        : letter == 'o' ? "01234567"
                                        : letter == 'x' ? "0123456789abcdefABCDEF"
                                                        : "";
        size_t size = 2;
        while (true) {
            const size_t skip = at(size) == '_' ? 1 : 0;
            if (at(size + skip) == '\0' || digits.find(at(size + skip)) == npos) break;
            size += skip + 1;
        }
        return at(0) == '0' && size > 2 ? size : 0;
    }

    Result<void> read_number() {
        const size_t whole = digits_from(0);
        const bool after_dot = position_ > 0 && source_[position_ - 1] == '.';
        size_t end = whole;
        if (!after_dot) {
            if (at(end) == '.' && digits_from(end + 1) > 0) end += 1 + digits_from(end + 1);
            const size_t sign = at(end + 1) == '+' || at(end + 1) == '-' ? 1 : 0;
            if ((at(end) | 0x20) == 'e' && digits_from(end + 1 + sign) > 0)
                end += 1 + sign + digits_from(end + 1 + sign);
        }
        if (end > whole) return emit(TokenKind::kFloat, end);
        if (const size_t size = prefixed_digits()) return emit(TokenKind::kInteger, size);
        if (at(0) != '0') return emit(TokenKind::kInteger, whole);
        // A zero may be followed by zeros only. "007" is read as two numbers, which is an error of the grammar.
        size_t zeros = 1;
        while (at(zeros) == '0' || (at(zeros) == '_' && at(zeros + 1) == '0')) ++zeros;
        return emit(TokenKind::kInteger, zeros);
    }

    Result<void> read_string(char quote) {
        size_t end = position_ + 1;
        while (end < source_.size() && source_[end] != quote) end += source_[end] == '\\' ? 2 : 1;
        if (end >= source_.size()) return fail_here("this string has no closing quote");
        auto text = unescape(source_.substr(position_ + 1, end - position_ - 1));
        if (!text) return fail_here(text.error().message);
        tokens_.push_back({TokenKind::kString, line_, std::move(*text)});
        advance(end + 1 - position_);
        return {};
    }

    Result<void> read_operator() {
        constexpr std::string_view kLong[] = {"//", "**", "==", "!=", ">=", "<="};
        for (const std::string_view text : kLong) {
            if (looking_at(text)) return emit(TokenKind::kOperator, 2);
        }
        constexpr std::string_view kShort = "+-/*%~[](){}><=.:|,;";
        const char c = at(0);
        if (kShort.find(c) == npos) {
            size_t end = position_;
            decode(source_, end);
            return fail("line {}: unexpected character '{}'", line_, source_.substr(position_, end - position_));
        }
        if (c == '(' || c == '[' || c == '{') {
            brackets_.push_back(c == '(' ? ')' : c == '[' ? ']' : '}');
        } else if (c == ')' || c == ']' || c == '}') {
            if (brackets_.empty()) return fail("line {}: unexpected '{}'", line_, c);
            if (brackets_.back() != c)
                return fail("line {}: unexpected '{}', expected '{}'", line_, c, brackets_.back());
            brackets_.pop_back();
        }
        return emit(TokenKind::kOperator, 1);
    }

    std::string_view source_;
    size_t position_ = 0;
    int line_ = 1;
    bool at_line_start_ = true;
    std::string brackets_;  // the closing brackets expected next
    std::vector<Token> tokens_;
};

}  // namespace

Result<std::vector<Token>> tokenize(std::string_view source) {
    if (!is_valid_utf8(source)) return fail("the template is not valid UTF-8");
    const std::string normalized = with_unix_newlines(source);
    return Lexer(normalized).run();
}

std::string describe(const Token& token) {
    switch (token.kind) {
        case TokenKind::kText:
            return "text";
        case TokenKind::kPrintBegin:
            return "'{{'";
        case TokenKind::kPrintEnd:
            return "'}}'";
        case TokenKind::kBlockBegin:
            return "'{%'";
        case TokenKind::kBlockEnd:
            return "'%}'";
        case TokenKind::kString:
            return "a string";
        case TokenKind::kEnd:
            return "the end of the template";
        default:
            return "'" + token.text + "'";
    }
}

}  // namespace invar::jinja
