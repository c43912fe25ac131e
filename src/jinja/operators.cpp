// A string that counts as HTML (Markup) escapes whatever is added to it, as in markupsafe. Templates that use the
// filter `safe` depend on it.
#include "jinja/operators.h"

#include "jinja/compare.h"
#include "jinja/numbers.h"
#include "jinja/text.h"

namespace invar::jinja {

namespace {

std::string_view sign_of(Operation operation) {
    switch (operation) {
        case Operation::kAdd:
            return "+";
        case Operation::kSubtract:
            return "-";
        case Operation::kMultiply:
            return "*";
        case Operation::kDivide:
            return "/";
        case Operation::kFloorDivide:
            return "//";
        case Operation::kModulo:
            return "%";
        default:
            return "**";
    }
}

Result<Value> add_strings(Runtime& runtime, const Value& left, const Value& right) {
    const bool markup = left.is_markup() || right.is_markup();
    TRY(runtime.reserve(static_cast<int64_t>(left.text().size() + right.text().size())));
    const auto part = [&](const Value& value) {
        return markup && !value.is_markup() ? escape_html(value.text()) : std::string(value.text());
    };
    return runtime.string(part(left) + part(right), markup);
}

Result<Value> repeat(Runtime& runtime, const Value& value, int64_t times) {
    times = std::max<int64_t>(times, 0);
    int64_t bytes = 0;
    if (value.is(Kind::kString)) {
        const int64_t size = static_cast<int64_t>(value.text().size());
        if (__builtin_mul_overflow(size, times, &bytes)) bytes = -1;
        TRY(runtime.reserve(bytes));
        std::string out;
        out.reserve(static_cast<size_t>(bytes));
        for (int64_t i = 0; i < times && size > 0; ++i) out += value.text();
        return runtime.string(std::move(out), value.is_markup());
    }
    const auto& items = value.as<Sequence>().items;
    const int64_t size = static_cast<int64_t>(items.size() * sizeof(Value));
    if (__builtin_mul_overflow(size, times, &bytes)) bytes = -1;
    TRY(runtime.reserve(bytes));
    std::vector<Value> out;
    out.reserve(items.size() * static_cast<size_t>(times));
    for (int64_t i = 0; i < times && size > 0; ++i) out.insert(out.end(), items.begin(), items.end());
    return value.is(Kind::kList) ? runtime.list(std::move(out)) : runtime.tuple(std::move(out));
}

Result<Value> add_sequences(Runtime& runtime, const Value& left, const Value& right) {
    const auto &a = left.as<Sequence>().items, &b = right.as<Sequence>().items;
    TRY(runtime.reserve(static_cast<int64_t>((a.size() + b.size()) * sizeof(Value))));
    std::vector<Value> out = a;
    out.insert(out.end(), b.begin(), b.end());
    return left.is(Kind::kList) ? runtime.list(std::move(out)) : runtime.tuple(std::move(out));
}

}  // namespace

Result<Value> operate(Runtime& runtime, Operation operation, const Value& left, const Value& right) {
    if (left.is_number() && right.is_number()) return arithmetic(operation, left, right);
    // "..." % undefined formats the value as empty text. Every other operation on an undefined value fails.
    if (left.is(Kind::kString) && operation == Operation::kModulo) return percent_format(runtime, left, right);
    if (left.is(Kind::kUndefined)) return fail_undefined(left);
    if (right.is(Kind::kUndefined)) return fail_undefined(right);
    if (operation == Operation::kAdd) {
        if (left.is(Kind::kString) && right.is(Kind::kString)) return add_strings(runtime, left, right);
        if (left.is_sequence() && left.kind() == right.kind()) return add_sequences(runtime, left, right);
    }
    if (operation == Operation::kMultiply) {
        const auto is_repeatable = [](const Value& value) { return value.is(Kind::kString) || value.is_sequence(); };
        if (is_repeatable(left) && right.is_integral()) return repeat(runtime, left, right.as_integer());
        if (is_repeatable(right) && left.is_integral()) return repeat(runtime, right, left.as_integer());
    }
    return fail("'{}' is not supported between {} and {}", sign_of(operation), type_name(left), type_name(right));
}

std::string escape_html(std::string_view text) {
    std::string out;
    out.reserve(text.size());
    for (const char c : text) {
        switch (c) {
            case '&':
                out += "&amp;";
                break;
            case '<':
                out += "&lt;";
                break;
            case '>':
                out += "&gt;";
                break;
            case '\'':
                out += "&#39;";
                break;
            case '"':
                out += "&#34;";
                break;
            default:
                out.push_back(c);
        }
    }
    return out;
}

Result<Value> to_markup(Runtime& runtime, const Value& value) {
    if (value.is_markup()) return value;
    TRY_ASSIGN(const std::string text, to_text(runtime, value));
    TRY(runtime.reserve(static_cast<int64_t>(text.size())));
    return runtime.string(escape_html(text), true);
}

}  // namespace invar::jinja
