// Filters about numbers, and those that pick a default.
#include <cmath>

#include "jinja/arguments.h"
#include "jinja/builtins.h"
#include "jinja/compare.h"
#include "jinja/numbers.h"
#include "jinja/operators.h"
#include "jinja/text.h"

namespace invar::jinja {

namespace {

Result<Value> default_filter(Runtime& runtime, Arguments& arguments) {
    TRY_ASSIGN(const Bound bound, bind("default", arguments, {"value", "default_value", "boolean"}));
    const bool replace = bound[0].is(Kind::kUndefined) || (bound.is_true(2, false) && !is_true(bound[0]));
    if (!replace) return bound[0];
    return bound.has(1) ? Result<Value>(bound[1]) : runtime.string("");
}

Result<Value> to_integer(Runtime&, Arguments& arguments) {
    TRY_ASSIGN(const Bound bound, bind("int", arguments, {"value", "default", "base"}));
    const Value& value = bound[0];
    const Value otherwise = bound.has(1) ? bound[1] : Value::integer(0);
    if (value.is(Kind::kUndefined)) return fail_undefined(value);
    if (value.is_integral()) return Value::integer(value.as_integer());
    double real = 0;
    if (value.is(Kind::kFloat)) {
        real = value.as_real();
        if (std::isnan(real)) return otherwise;
    } else if (value.is(Kind::kString)) {
        TRY_ASSIGN(const int64_t base, bound.integer(2, 10));
        TRY_ASSIGN(const std::optional<int64_t> integer, parse_integer(value.text(), static_cast<int>(base)));
        if (integer) return Value::integer(*integer);
        const std::optional<double> parsed = parse_real(value.text());
        if (!parsed || !std::isfinite(*parsed)) return otherwise;
        real = *parsed;
    } else {
        return otherwise;
    }
    TRY_ASSIGN(const int64_t integer, truncated(real));
    return Value::integer(integer);
}

Result<Value> to_float(Runtime&, Arguments& arguments) {
    TRY_ASSIGN(const Bound bound, bind("float", arguments, {"value", "default"}));
    const Value& value = bound[0];
    if (value.is(Kind::kUndefined)) return fail_undefined(value);
    if (value.is_number()) return Value::real(to_real(value));
    if (value.is(Kind::kString)) {
        if (const std::optional<double> parsed = parse_real(value.text())) return Value::real(*parsed);
    }
    return bound.has(1) ? bound[1] : Value::real(0);
}

Result<Value> absolute(Runtime&, Arguments& arguments) {
    TRY_ASSIGN(const Bound bound, bind("abs", arguments, {""}));
    const Value& value = bound[0];
    if (value.is(Kind::kUndefined)) return fail_undefined(value);
    if (!value.is_number()) return fail("abs() needs a number, not a {}", type_name(value));
    if (value.is(Kind::kFloat)) return Value::real(std::fabs(value.as_real()));
    return value.as_integer() < 0 ? negated(value) : Result<Value>(Value::integer(value.as_integer()));
}

Result<Value> round(Runtime&, Arguments& arguments) {
    TRY_ASSIGN(const Bound bound, bind("round", arguments, {"value", "precision", "method"}));
    const Value& value = bound[0];
    TRY_ASSIGN(const int64_t precision, bound.integer(1, 0));
    TRY_ASSIGN(const std::string_view method, bound.text(2, "common"));
    if (method != "common" && method != "ceil" && method != "floor")
        return fail("round() has the methods common, ceil and floor, not '{}'", method);
    if (value.is(Kind::kUndefined)) return fail_undefined(value);
    if (!value.is_number()) return fail("round() needs a number, not a {}", type_name(value));
    const int digits = static_cast<int>(std::clamp<int64_t>(precision, -400, 400));
    if (method == "common") {
        if (value.is(Kind::kFloat)) return Value::real(rounded(value.as_real(), digits));
        TRY_ASSIGN(const int64_t integer, rounded(value.as_integer(), digits));
        return Value::integer(integer);
    }
    TRY_ASSIGN(const Value scale, arithmetic(Operation::kPower, Value::integer(10), Value::integer(precision)));
    TRY_ASSIGN(Value scaled, arithmetic(Operation::kMultiply, value, scale));
    if (scaled.is(Kind::kFloat)) {
        const double real = scaled.as_real();
        TRY_ASSIGN(const int64_t whole, truncated(method == "ceil" ? std::ceil(real) : std::floor(real)));
        scaled = Value::integer(whole);
    }
    return arithmetic(Operation::kDivide, scaled, scale);
}

Result<Value> file_size(Runtime& runtime, Arguments& arguments) {
    TRY_ASSIGN(const Bound bound, bind("filesizeformat", arguments, {"value", "binary"}));
    std::optional<double> given;
    if (bound[0].is_number()) given = to_real(bound[0]);
    if (bound[0].is(Kind::kString)) given = parse_real(bound[0].text());
    if (bound[0].is(Kind::kUndefined)) return fail_undefined(bound[0]);
    if (!given || !std::isfinite(*given)) return fail("filesizeformat() needs a finite number");
    const double bytes = *given;
    const bool binary = bound.is_true(1, false);
    const double base = binary ? 1024 : 1000;
    if (bytes == 1) return runtime.string("1 Byte");
    if (bytes < base) return runtime.string(fmt::format("{:.0f} Bytes", std::trunc(bytes)));
    const std::string_view prefixes = binary ? "KMGTPEZY" : "kMGTPEZY";
    double unit = base;
    size_t i = 0;
    do unit *= base;
    while (bytes >= unit && ++i + 1 < prefixes.size());
    if (bytes >= unit && i + 1 == prefixes.size()) unit *= base;
    return runtime.string(float_text(base * bytes / unit, 'f', 1) + " " + prefixes[std::min(i, prefixes.size() - 1)] +
                          (binary ? "iB" : "B"));
}

constexpr Builtin kNumberFilters[] = {
    {"default", default_filter}, {"d", default_filter}, {"int", to_integer},           {"float", to_float},
    {"abs", absolute},           {"round", round},      {"filesizeformat", file_size},
};

}  // namespace

std::span<const Builtin> number_filters() { return kNumberFilters; }

}  // namespace invar::jinja
