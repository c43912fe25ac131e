// Writes JSON as Python's json.dumps does: NaN and Infinity as words, keys of other types turned into strings,
// non-ASCII text unchanged unless asked otherwise, and nothing escaped for HTML.
#include <algorithm>
#include <cmath>

#include "jinja/characters.h"
#include "jinja/compare.h"
#include "jinja/numbers.h"
#include "jinja/text.h"

namespace invar::jinja {

namespace {

std::string escaped(std::string_view text, bool ascii_only) {
    std::string out = "\"";
    for (size_t position = 0; position < text.size();) {
        const size_t begin = position;
        const char32_t c = decode(text, position);
        const auto code = static_cast<uint32_t>(c);
        constexpr std::string_view kSpecial = "\"\\\n\r\t\f\b";
        constexpr std::string_view kLetters = "\"\\nrtfb";
        const size_t special = c < 0x80 ? kSpecial.find(static_cast<char>(c)) : std::string_view::npos;
        if (special != std::string_view::npos) {
            out.push_back('\\');
            out.push_back(kLetters[special]);
        } else if (c < 0x20 || (ascii_only && c >= 0x7F && c < 0x10000)) {
            out += fmt::format("\\u{:04x}", code);
        } else if (ascii_only && c >= 0x10000) {
            out += fmt::format("\\u{:04x}\\u{:04x}", 0xD800 + ((code - 0x10000) >> 10),
                               0xDC00 + ((code - 0x10000) & 0x3FF));
        } else {
            out += text.substr(begin, position - begin);
        }
    }
    out.push_back('"');
    return out;
}

std::string number_text(const Value& value) {
    if (value.is(Kind::kInteger)) return std::to_string(value.as_integer());
    const double real = value.as_real();
    if (std::isnan(real)) return "NaN";
    if (std::isinf(real)) return real < 0 ? "-Infinity" : "Infinity";
    return float_text(real);
}

class Writer {
  public:
    Writer(Text& out, Runtime& runtime, const JsonStyle& style) : out_(out), runtime_(runtime), style_(style) {}

    Result<void> write(const Value& value) {
        const Nesting nesting(runtime_);
        TRY(nesting.check());
        TRY(runtime_.step());
        switch (value.kind()) {
            case Kind::kNone:
                return out_.append("null");
            case Kind::kBool:
                return out_.append(value.as_boolean() ? "true" : "false");
            case Kind::kInteger:
            case Kind::kFloat:
                return out_.append(number_text(value));
            case Kind::kString:
                TRY(runtime_.reserve(static_cast<int64_t>(value.text().size())));
                return out_.append(escaped(value.text(), style_.ascii_only));
            case Kind::kList:
            case Kind::kTuple:
                return write_items(value.as<Sequence>().items);
            case Kind::kDict:
                return write_dict(value.as<Dict>());
            case Kind::kUndefined:
                return fail("tojson: {}", value.as<Undefined>().message);
            default:
                return fail("tojson: a {} cannot be written as JSON", type_name(value));
        }
    }

  private:
    Result<void> separate(bool is_first) {
        if (!is_first) TRY(out_.append(style_.item_separator));
        return style_.is_indented ? new_line() : Result<void>();
    }

    Result<void> new_line() {
        TRY(out_.append("\n"));
        for (int i = 0; i < level_; ++i) TRY(out_.append(style_.indent));
        return {};
    }

    Result<void> write_items(const std::vector<Value>& items) {
        if (items.empty()) return out_.append("[]");
        TRY(out_.append("["));
        ++level_;
        for (size_t i = 0; i < items.size(); ++i) {
            TRY(separate(i == 0));
            TRY(write(items[i]));
        }
        --level_;
        if (style_.is_indented) TRY(new_line());
        return out_.append("]");
    }

    Result<void> write_dict(const Dict& dict) {
        if (dict.entries.empty()) return out_.append("{}");
        TRY(out_.append("{"));
        ++level_;
        std::vector<Keyed> sorted;
        if (style_.sort_keys) {
            for (const Dict::Entry& entry : dict.entries) sorted.push_back({entry.key, entry.value});
            TRY(sort_by_key(runtime_, sorted, false));
        }
        for (size_t i = 0; i < dict.entries.size(); ++i) {
            const Value& key = style_.sort_keys ? sorted[i].key : dict.entries[i].key;
            const Value& value = style_.sort_keys ? sorted[i].value : dict.entries[i].value;
            TRY(separate(i == 0));
            TRY_ASSIGN(const std::string name, key_text(key));
            TRY(out_.append(escaped(name, style_.ascii_only)));
            TRY(out_.append(style_.key_separator));
            TRY(write(value));
        }
        --level_;
        if (style_.is_indented) TRY(new_line());
        return out_.append("}");
    }

    static Result<std::string> key_text(const Value& key) {
        switch (key.kind()) {
            case Kind::kString:
                return std::string(key.text());
            case Kind::kNone:
                return "null";
            case Kind::kBool:
                return key.as_boolean() ? "true" : "false";
            case Kind::kInteger:
            case Kind::kFloat:
                return number_text(key);
            default:
                return fail("tojson: a {} cannot be a key of a JSON object", type_name(key));
        }
    }

    Text& out_;
    Runtime& runtime_;
    const JsonStyle& style_;
    int level_ = 0;
};

}  // namespace

Result<void> append_json(Text& out, Runtime& runtime, const Value& value, const JsonStyle& style) {
    return Writer(out, runtime, style).write(value);
}

}  // namespace invar::jinja
