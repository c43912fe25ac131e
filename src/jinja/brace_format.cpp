// "text {} {name[0].attribute!r:>8}".format(...): Python's str.format. Fields look up attributes with the same rules as
// the template itself, so that formatting opens no way around the sandbox.
#include "jinja/attributes.h"
#include "jinja/characters.h"
#include "jinja/operators.h"
#include "jinja/text.h"

namespace invar::jinja {

namespace {

bool is_index(std::string_view text) {
    return !text.empty() && text.size() < 10 && text.find_first_not_of("0123456789") == std::string_view::npos;
}

int64_t to_index(std::string_view digits) {
    int64_t index = 0;
    for (const char c : digits) index = index * 10 + (c - '0');
    return index;
}

class BraceFormatter {
  public:
    BraceFormatter(Runtime& runtime, const Arguments& arguments, bool is_markup)
        : runtime_(runtime), arguments_(arguments), is_markup_(is_markup) {}

    // `depth`: a specification may hold fields, whose specifications may not.
    Result<void> format(Text& out, std::string_view text, int depth) {
        if (depth > 2) return fail("the fields of this format are nested too deep");
        for (size_t position = 0; position < text.size();) {
            const size_t brace = std::min(text.find_first_of("{}", position), text.size());
            TRY(out.append(text.substr(position, brace - position)));
            if (brace == text.size()) break;
            if (brace + 1 < text.size() && text[brace + 1] == text[brace]) {
                TRY(out.append(text.substr(brace, 1)));
                position = brace + 2;
                continue;
            }
            if (text[brace] == '}') return fail("a format has a single '}}'");
            size_t end = brace + 1;
            for (int open = 1; end < text.size(); ++end) {
                open += text[end] == '{' ? 1 : text[end] == '}' ? -1 : 0;
                if (open == 0) break;
            }
            if (end >= text.size()) return fail("a field of a format has no '}}'");
            TRY(field(out, text.substr(brace + 1, end - brace - 1), depth));
            position = end + 1;
        }
        return {};
    }

  private:
    Result<void> field(Text& out, std::string_view field_text, int depth) {
        size_t name_end = 0;
        for (bool in_brackets = false; name_end < field_text.size(); ++name_end) {
            const char c = field_text[name_end];
            if (c == '[') in_brackets = true;
            if (c == ']') in_brackets = false;
            if (!in_brackets && (c == '!' || c == ':')) break;
        }
        std::string_view rest = field_text.substr(name_end);
        char conversion = '\0';
        if (!rest.empty() && rest[0] == '!') {
            if (rest.size() < 2 || (rest.size() > 2 && rest[2] != ':'))
                return fail("a conversion of a format is malformed");
            conversion = rest[1];
            rest.remove_prefix(2);
        }
        if (!rest.empty()) rest.remove_prefix(1);
        TRY_ASSIGN(Value value, find(field_text.substr(0, name_end)));
        Text specification(runtime_);
        TRY(format(specification, rest, depth + 1));
        if (conversion == 'r') {
            Text repr(runtime_);
            TRY(append_repr(repr, runtime_, value));
            TRY_ASSIGN(value, runtime_.string(repr.take()));
        } else if (conversion == 's') {
            TRY_ASSIGN(std::string text, to_text(runtime_, value));
            TRY_ASSIGN(value, runtime_.string(std::move(text)));
        } else if (conversion != '\0') {
            return fail("the conversion '!{}' of a format is not supported", conversion);
        }
        if (is_markup_ && value.is_markup()) {
            if (!specification.view().empty()) return fail("text that counts as HTML takes no format specification");
            return out.append(value.text());
        }
        TRY_ASSIGN(const std::string text, format_value(runtime_, value, specification.view()));
        return out.append(is_markup_ ? escape_html(text) : text);
    }

    Result<Value> find(std::string_view name) {
        const size_t first_end = std::min(name.find_first_of(".["), name.size());
        TRY_ASSIGN(Value value, argument(name.substr(0, first_end)));
        for (size_t position = first_end; position < name.size();) {
            const bool is_item = name[position] == '[';
            const size_t end =
                std::min(is_item ? name.find(']', position) : name.find_first_of(".[", position + 1), name.size());
            if (is_item && end == name.size()) return fail("a field of a format has no ']'");
            const std::string_view part = name.substr(position + 1, end - position - 1);
            if (part.empty()) return fail("a field of a format has an empty attribute");
            if (!is_item) {
                TRY_ASSIGN(value, get_attribute(runtime_, value, std::string(part)));
            } else if (is_index(part)) {
                TRY_ASSIGN(value, get_item(runtime_, value, Value::integer(to_index(part))));
            } else {
                TRY_ASSIGN(const Value key, runtime_.string(std::string(part)));
                TRY_ASSIGN(value, get_item(runtime_, value, key));
            }
            position = is_item ? end + 1 : end;
            if (is_item && position < name.size() && name[position] != '.' && name[position] != '[')
                return fail("only '.' or '[' may follow ']' in a field of a format");
        }
        return value;
    }

    Result<Value> argument(std::string_view name) {
        if (name.empty() || is_index(name)) {
            if ((name.empty() && manual_) || (!name.empty() && next_ > 0))
                return fail("a format cannot mix numbered and unnumbered fields");
            manual_ = manual_ || !name.empty();
            const size_t index = name.empty() ? next_++ : static_cast<size_t>(to_index(name));
            if (index >= arguments_.positional.size())
                return fail("a format needs more than the {} values it is given", arguments_.positional.size());
            return arguments_.positional[index];
        }
        for (const auto& [key, value] : arguments_.keywords) {
            if (key == name) return value;
        }
        return fail("a format names '{}', which it is not given", name);
    }

    Runtime& runtime_;
    const Arguments& arguments_;
    bool is_markup_;
    size_t next_ = 0;
    bool manual_ = false;
};

}  // namespace

Result<Value> brace_format(Runtime& runtime, const Value& format, const Arguments& arguments) {
    Text out(runtime);
    TRY(BraceFormatter(runtime, arguments, format.is_markup()).format(out, format.text(), 1));
    return runtime.string(out.take(), format.is_markup());
}

}  // namespace invar::jinja
