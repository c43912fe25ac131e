// Reads escapes, properties and classes (oniguruma_class.h).
#include "text/tokenizer/oniguruma_class.h"

#include <algorithm>
#include <cctype>
#include <iterator>

#include "text/tokenizer/utf8.h"

namespace invar {
namespace {

constexpr int kMostNestedClasses = 32;

constexpr std::string_view kWhiteSpace =
    "\\t-\\r\\x20\\x{85}\\x{A0}\\x{1680}\\x{2000}-\\x{200A}\\x{2028}\\x{2029}\\x{202F}\\x{205F}\\x{3000}";
constexpr std::string_view kNotWhiteSpace =
    "\\x{0}-\\x08\\x0E-\\x1F!-\\x{84}\\x{86}-\\x{9F}\\x{A1}-\\x{167F}\\x{1681}-\\x{1FFF}\\x{200B}-\\x{2027}"
    "\\x{202A}-\\x{202E}\\x{2030}-\\x{205E}\\x{2060}-\\x{2FFF}\\x{3001}-\\x{10FFFF}";
constexpr std::string_view kHexDigit = "0-9A-Fa-f";

// Binary properties that have the same name in both.
constexpr std::string_view kBinaryProperties[] = {
    "alphabetic",           "uppercase",     "lowercase",      "emoji",
    "emojipresentation",    "emojimodifier", "emojicomponent", "math",
    "extendedpictographic", "ideographic",   "diacritic",      "hexdigit",
    "asciihexdigit",        "idstart",       "idcontinue",     "xidstart",
    "xidcontinue",          "cased",         "caseignorable",  "joincontrol",
    "variationselector",    "dash",          "quotationmark",  "regionalindicator"};

// Names that Oniguruma knows and PCRE2 does not, in lower case without separators, and their equivalent inside a class.
constexpr struct {
    std::string_view name, items;
} kProperties[] = {{"alnum", "\\p{Alphabetic}\\p{Nd}"},
                   {"alpha", "\\p{Alphabetic}"},
                   {"digit", "\\p{Nd}"},
                   {"space", kWhiteSpace},
                   {"whitespace", kWhiteSpace},
                   {"upper", "\\p{Uppercase}"},
                   {"lower", "\\p{Lowercase}"},
                   {"word", kWordItems},
                   {"xdigit", kHexDigit},
                   {"cntrl", "\\p{Cc}"},
                   {"punct", "\\p{P}$+<=>^`|~"},
                   {"any", "\\x{0}-\\x{10FFFF}"},
                   {"letter", "\\p{L}"},
                   {"mark", "\\p{M}"},
                   {"number", "\\p{N}"},
                   {"punctuation", "\\p{P}"},
                   {"symbol", "\\p{S}"},
                   {"separator", "\\p{Z}"},
                   {"other", "\\p{C}"},
                   {"uppercaseletter", "\\p{Lu}"},
                   {"lowercaseletter", "\\p{Ll}"},
                   {"titlecaseletter", "\\p{Lt}"},
                   {"modifierletter", "\\p{Lm}"},
                   {"otherletter", "\\p{Lo}"},
                   {"nonspacingmark", "\\p{Mn}"},
                   {"decimalnumber", "\\p{Nd}"}};

void add_item(ClassSet& set, char32_t character) {
    set.items += fmt::format("\\x{{{:X}}}", static_cast<uint32_t>(character));
}

void add_items(ClassSet& operand, std::string items, bool negated) {
    if (negated) {
        ClassSet nested;
        nested.negated = true;
        nested.items = std::move(items);
        operand.nested.push_back(std::move(nested));
    } else {
        operand.items += items;
    }
}

}  // namespace

std::string pattern_of(const ClassSet& set) {
    if (set.is_simple()) {
        if (set.items.empty()) return set.negated ? "(?s:.)" : "(?!)";
        return fmt::format("[{}{}]", set.negated ? "^" : "", set.items);
    }
    std::string either = set.items.empty() ? std::string() : fmt::format("[{}]", set.items);
    for (const ClassSet& nested : set.nested) either.append(either.empty() ? "" : "|").append(pattern_of(nested));
    std::string all = "(?:";
    for (const ClassSet& other : set.intersected) all += fmt::format("(?={})", pattern_of(other));
    all += fmt::format("(?:{}))", either.empty() ? "(?!)" : either);
    return set.negated ? fmt::format("(?:(?!{})(?s:.))", all) : all;
}

tl::unexpected<Error> OnigurumaReader::refuse(std::string_view what) const {
    return fail(ErrorKind::unsupported, "the expression has {} at its byte {}, which is not supported: '{}'", what, at_,
                text_.substr(0, std::min<size_t>(text_.size(), 200)));
}

Result<std::optional<OnigurumaReader::Items>> OnigurumaReader::read_set_escape() {
    const char kind = at_ + 1 < text_.size() ? text_[at_ + 1] : '\0';
    const auto take = [&](std::string_view items, bool negated) -> std::optional<Items> {
        at_ += 2;
        return Items{std::string(items), negated};
    };
    switch (kind) {
        case 's':
            return take(kWhiteSpace, false);
        case 'S':
            return take(kNotWhiteSpace, false);
        case 'w':
            return take(kWordItems, false);
        case 'W':
            return take(kWordItems, true);
        case 'd':
            return take("\\p{Nd}", false);
        case 'D':
            return take("\\P{Nd}", false);
        case 'h':
            return take(kHexDigit, false);
        case 'H':
            return take(kHexDigit, true);
        case 'p':
        case 'P':
            break;
        default:
            return std::optional<Items>();
    }
    if (at_ + 2 >= text_.size() || text_[at_ + 2] != '{') return refuse("a property without braces");
    const size_t close = text_.find('}', at_);
    if (close == std::string_view::npos) return refuse("a property without end");
    std::string_view name = text_.substr(at_ + 3, close - at_ - 3);
    bool negated = kind == 'P';
    if (name.starts_with('^')) {
        negated = !negated;
        name.remove_prefix(1);
    }
    at_ = close + 1;
    TRY_ASSIGN(Items items, items_of_property(name, negated));
    return std::optional(std::move(items));
}

Result<OnigurumaReader::Items> OnigurumaReader::items_of_property(std::string_view name, bool negated) const {
    std::string plain;
    for (const char character : name) {
        const bool is_letter = (character | 0x20) >= 'a' && (character | 0x20) <= 'z';
        if (is_letter) plain += static_cast<char>(character | 0x20);
        if (!is_letter && character != ' ' && character != '_' && character != '-') return refuse("a property's name");
    }
    for (const auto& [known, items] : kProperties) {
        if (plain == known) return Items{std::string(items), negated};
    }
    // General categories have one or two letters. Any other name that is no binary property is a script. In PCRE2 a
    // script would also match characters shared with other scripts (`scx`), which Oniguruma's does not.
    const bool is_script = plain.size() > 2 && std::find(std::begin(kBinaryProperties), std::end(kBinaryProperties),
                                                         plain) == std::end(kBinaryProperties);
    return Items{fmt::format("\\{}{{{}{}}}", negated ? 'P' : 'p', is_script ? "sc:" : "", name), false};
}

// A character written as an escape; nothing if the escape is of another kind.
Result<std::optional<char32_t>> OnigurumaReader::read_character_escape() {
    constexpr std::string_view kNames = "tnrfvae", kValues = "\t\n\r\f\v\a\x1B";
    const char kind = at_ + 1 < text_.size() ? text_[at_ + 1] : '\0';
    if (const size_t place = kNames.find(kind); kind != '\0' && place != std::string_view::npos) {
        at_ += 2;
        return std::optional<char32_t>(kValues[place]);
    }
    if (kind == 'x' || kind == 'u') return read_code_point(kind);
    const bool is_plain =
        static_cast<uint8_t>(kind) >= 0x80 || (kind >= ' ' && !std::isalnum(static_cast<unsigned char>(kind)));
    if (!is_plain) return std::optional<char32_t>();
    const Utf8Step character = read_utf8(text_.substr(at_ + 1));
    at_ += 1 + character.bytes;
    return std::optional<char32_t>(character.character);
}

Result<std::optional<char32_t>> OnigurumaReader::read_code_point(char kind) {
    size_t at = at_ + 2;
    const bool braced = kind == 'x' && at < text_.size() && text_[at] == '{';
    at += braced ? 1 : 0;
    const size_t most = braced ? 8 : kind == 'u' ? 4 : 2;
    char32_t value = 0;
    size_t digits = 0;
    for (; digits < most && at < text_.size() && std::isxdigit(static_cast<unsigned char>(text_[at])); ++at, ++digits) {
        const char digit = text_[at];
        value = value * 16 + static_cast<char32_t>(digit <= '9' ? digit - '0' : (digit | 0x20) - 'a' + 10);
    }
    const bool closes = !braced || (at < text_.size() && text_[at] == '}');
    if (digits == 0 || !closes || (kind == 'u' && digits != 4) || value > 0x10FFFF ||
        (value >= 0xD800 && value <= 0xDFFF)) {
        return refuse("a number that is no character");
    }
    at_ = at + (braced ? 1 : 0);
    return std::optional(value);
}

Result<ClassSet> OnigurumaReader::read_class(int depth) {
    if (depth > kMostNestedClasses) return refuse("classes nested deeper than 32");
    ClassSet whole;
    if (next_is("^")) {
        whole.negated = true;
        ++at_;
    }
    ClassSet operand;
    std::vector<ClassSet> operands;
    for (bool is_first = true;; is_first = false) {
        if (ends()) return refuse("a class without end");
        if (text_[at_] == ']' && !is_first) {
            ++at_;
            break;
        }
        if (next_is("&&")) {
            at_ += 2;
            operands.push_back(std::move(operand));
            operand = {};
            continue;
        }
        TRY(read_class_item(operand, depth));
    }
    operands.push_back(std::move(operand));
    whole.items = std::move(operands[0].items);
    whole.nested = std::move(operands[0].nested);
    whole.intersected.assign(std::make_move_iterator(operands.begin() + 1), std::make_move_iterator(operands.end()));
    return whole;
}

Result<void> OnigurumaReader::read_class_item(ClassSet& operand, int depth) {
    if (next_is("[:")) {
        const size_t close = text_.find(":]", at_);
        if (close != std::string_view::npos) {
            std::string_view name = text_.substr(at_ + 2, close - at_ - 2);
            const bool negated = name.starts_with('^');
            name.remove_prefix(negated ? 1 : 0);
            TRY_ASSIGN(Items items, items_of_property(name, negated));
            at_ = close + 2;
            add_items(operand, std::move(items.items), items.negated);
            return {};
        }
    }
    if (text_[at_] == '[') {
        ++at_;
        TRY_ASSIGN(ClassSet nested, read_class(depth + 1));
        if (nested.is_simple() && !nested.negated) {
            operand.items += nested.items;
        } else {
            operand.nested.push_back(std::move(nested));
        }
        return {};
    }
    if (text_[at_] == '\\') {
        TRY_ASSIGN(auto set, read_set_escape());
        if (set) {
            add_items(operand, std::move(set->items), set->negated);
            return {};
        }
    }
    TRY_ASSIGN(const char32_t first, read_class_character());
    const bool is_range = next_is("-") && at_ + 1 < text_.size() && text_[at_ + 1] != ']' && text_[at_ + 1] != '[' &&
                          !text_.substr(at_ + 1).starts_with("&&");
    add_item(operand, first);
    if (!is_range) return {};
    ++at_;
    TRY_ASSIGN(const char32_t last, read_class_character());
    if (last < first) return refuse("a range that runs backwards");
    operand.items += '-';
    add_item(operand, last);
    return {};
}

Result<char32_t> OnigurumaReader::read_class_character() {
    if (text_[at_] == '\\') {
        if (at_ + 1 < text_.size() && text_[at_ + 1] == 'b') {
            at_ += 2;
            return char32_t{8};
        }
        TRY_ASSIGN(const auto character, read_character_escape());
        if (!character) return refuse("an escape in a class");
        return *character;
    }
    const Utf8Step character = read_utf8(text_.substr(at_));
    at_ += character.bytes;
    return character.character;
}

}  // namespace invar
