// str() and repr() of every kind of value. If Python would print an address, it is an error here, because no prompt
// should depend on where an object lies.
#include "jinja/text.h"

#include "jinja/characters.h"
#include "jinja/iterate.h"
#include "jinja/numbers.h"
#include "jinja/tree.h"

namespace invar::jinja {

Result<void> Text::append(std::string_view more) {
    const int64_t size = static_cast<int64_t>(more.size());
    const int64_t limit = runtime_.limits().output_bytes;
    if (static_cast<int64_t>(text_.size()) + size > limit)
        return fail("the template writes more than {} bytes; raise the limit or fix the template", limit);
    TRY(runtime_.reserve(size));
    runtime_.heap().charge_buffer(size);
    charged_ += size;
    text_ += more;
    return {};
}

Result<void> Text::append(size_t count, char c) {
    TRY(runtime_.reserve(static_cast<int64_t>(count)));
    return append(std::string(count, c));
}

std::string quoted_text(std::string_view text) {
    const bool has_single = text.find('\'') != std::string_view::npos;
    const bool has_double = text.find('"') != std::string_view::npos;
    const char quote = has_single && !has_double ? '"' : '\'';
    std::string out(1, quote);
    for (size_t position = 0; position < text.size();) {
        const size_t begin = position;
        const char32_t c = decode(text, position);
        const auto code = static_cast<uint32_t>(c);
        if (c == static_cast<char32_t>(quote) || c == '\\') {
            out.push_back('\\');
            out.push_back(static_cast<char>(c));
        } else if (c == '\n') {
            out += "\\n";
        } else if (c == '\r') {
            out += "\\r";
        } else if (c == '\t') {
            out += "\\t";
        } else if (c >= ' ' && c < 0x7F) {
            out.push_back(static_cast<char>(c));
        } else if (c >= 0x7F && is_printable(c)) {
            out += text.substr(begin, position - begin);
        } else if (c < 0x100) {
            out += fmt::format("\\x{:02x}", code);
        } else if (c < 0x10000) {
            out += fmt::format("\\u{:04x}", code);
        } else {
            out += fmt::format("\\U{:08x}", code);
        }
    }
    out.push_back(quote);
    return out;
}

namespace {

Result<void> append_items(Text& out, Runtime& runtime, const std::vector<Value>& items) {
    for (size_t i = 0; i < items.size(); ++i) {
        if (i != 0) TRY(out.append(", "));
        TRY(append_repr(out, runtime, items[i]));
    }
    return {};
}

Result<void> append_sequence(Text& out, Runtime& runtime, const Value& value) {
    const auto& items = value.as<Sequence>().items;
    const bool is_list = value.is(Kind::kList);
    TRY(out.append(is_list ? "[" : "("));
    TRY(append_items(out, runtime, items));
    return out.append(is_list ? "]" : items.size() == 1 ? ",)" : ")");
}

Result<void> append_dict(Text& out, Runtime& runtime, const Dict& dict) {
    TRY(out.append("{"));
    bool first = true;
    for (const Dict::Entry& entry : dict.entries) {
        if (!first) TRY(out.append(", "));
        first = false;
        TRY(append_repr(out, runtime, entry.key));
        TRY(out.append(": "));
        TRY(append_repr(out, runtime, entry.value));
    }
    return out.append("}");
}

std::string range_text(const Range& range) {
    if (range.step == 1) return fmt::format("range({}, {})", range.start, range.stop);
    return fmt::format("range({}, {}, {})", range.start, range.stop, range.step);
}

}  // namespace

Result<void> append_repr(Text& out, Runtime& runtime, const Value& value) {
    const Nesting nesting(runtime);
    TRY(nesting.check());
    TRY(runtime.step());
    switch (value.kind()) {
        case Kind::kMissing:
        case Kind::kUndefined:
            return out.append("Undefined");
        case Kind::kNone:
            return out.append("None");
        case Kind::kBool:
            return out.append(value.as_boolean() ? "True" : "False");
        case Kind::kInteger:
            return out.append(std::to_string(value.as_integer()));
        case Kind::kFloat:
            return out.append(float_text(value.as_real()));
        case Kind::kString:
            TRY(runtime.reserve(static_cast<int64_t>(value.text().size())));
            return out.append(value.is_markup() ? "Markup(" + quoted_text(value.text()) + ")"
                                                : quoted_text(value.text()));
        case Kind::kList:
        case Kind::kTuple:
            return append_sequence(out, runtime, value);
        case Kind::kDict:
            return append_dict(out, runtime, value.as<Dict>());
        case Kind::kView: {
            TRY_ASSIGN(const std::vector<Value> items, to_vector(runtime, value));
            TRY(out.append(type_name(value)));
            TRY(out.append("(["));
            TRY(append_items(out, runtime, items));
            return out.append("])");
        }
        case Kind::kRange:
            return out.append(range_text(value.as<Range>()));
        case Kind::kNamespace:
            TRY(out.append("<Namespace "));
            TRY(append_repr(out, runtime, value.as<Namespace>().attributes));
            return out.append(">");
        case Kind::kMacro: {
            const Statement& macro = value.as<Macro>().statement;
            return out.append(macro.text.empty() ? "<Macro anonymous>" : "<Macro " + quoted_text(macro.text) + ">");
        }
        case Kind::kLoop: {
            TRY_ASSIGN(const int64_t length, value.as<Loop>().length(runtime));
            return out.append(fmt::format("<LoopContext {}/{}>", value.as<Loop>().index0 + 1, length));
        }
        default:
            break;
    }
    return fail("a {} cannot be printed{}", type_name(value),
                value.is(Kind::kGenerator) ? "; make it a list with the filter 'list' first" : "");
}

Result<void> append_text(Text& out, Runtime& runtime, const Value& value) {
    if (value.is(Kind::kString)) return out.append(value.text());
    if (value.is(Kind::kUndefined)) return {};
    return append_repr(out, runtime, value);
}

Result<std::string> to_text(Runtime& runtime, const Value& value) {
    if (value.is(Kind::kString)) return std::string(value.text());
    Text out(runtime);
    TRY(append_text(out, runtime, value));
    return out.take();
}

}  // namespace invar::jinja
