// The tests of templates, which follow `is`.
#include <algorithm>

#include "jinja/arguments.h"
#include "jinja/builtins.h"
#include "jinja/compare.h"
#include "jinja/iterate.h"
#include "jinja/operators.h"
#include "jinja/string_predicates.h"
#include "jinja/text.h"

namespace invar::jinja {

namespace {

using Predicate = bool (*)(const Value&);
template <Predicate predicate>
Result<Value> ask(Runtime&, Arguments& arguments) {
    TRY_ASSIGN(const Bound bound, bind("test", arguments, {"value"}));
    return Value::boolean(predicate(bound[0]));
}

bool is_defined(const Value& v) { return !v.is(Kind::kUndefined); }
bool is_undefined(const Value& v) { return v.is(Kind::kUndefined); }
bool is_none(const Value& v) { return v.is(Kind::kNone); }
bool is_boolean(const Value& v) { return v.is(Kind::kBool); }
bool is_the_true(const Value& v) { return v.is(Kind::kBool) && v.as_boolean(); }
bool is_the_false(const Value& v) { return v.is(Kind::kBool) && !v.as_boolean(); }
bool is_integer(const Value& v) { return v.is(Kind::kInteger); }
bool is_float(const Value& v) { return v.is(Kind::kFloat); }
bool is_a_number(const Value& v) { return v.is_number(); }
bool is_string(const Value& v) { return v.is(Kind::kString); }
bool is_mapping(const Value& v) { return v.is(Kind::kDict); }
bool is_escaped(const Value& v) { return v.is_markup(); }

// Whether a value has a length and can be indexed. As in jinja2, an undefined value passes.
bool is_a_sequence(const Value& v) {
    return v.is(Kind::kString) || v.is_sequence() || v.is(Kind::kDict) || v.is(Kind::kRange) || v.is(Kind::kUndefined);
}

bool is_callable(const Value& v) {
    return v.is(Kind::kFunction) || v.is(Kind::kMacro) || v.is(Kind::kJoiner) || v.is(Kind::kLoop) ||
           v.is(Kind::kUndefined);
}

template <bool upper_case>
Result<Value> has_case(Runtime& runtime, Arguments& arguments) {
    TRY_ASSIGN(const Bound bound, bind(upper_case ? "upper" : "lower", arguments, {"value"}));
    TRY_ASSIGN(const std::string text, to_text(runtime, bound[0]));
    return Value::boolean(upper_case ? is_upper_text(text) : is_lower_text(text));
}

Result<Value> remainder_is(Runtime& runtime, const Value& value, const Value& divisor, int64_t wanted) {
    TRY_ASSIGN(const Value remainder, operate(runtime, Operation::kModulo, value, divisor));
    TRY_ASSIGN(const bool same, equal(runtime, remainder, Value::integer(wanted)));
    return Value::boolean(same);
}

Result<Value> is_odd(Runtime& runtime, Arguments& arguments) {
    TRY_ASSIGN(const Bound bound, bind("odd", arguments, {"value"}));
    return remainder_is(runtime, bound[0], Value::integer(2), 1);
}

Result<Value> is_even(Runtime& runtime, Arguments& arguments) {
    TRY_ASSIGN(const Bound bound, bind("even", arguments, {"value"}));
    return remainder_is(runtime, bound[0], Value::integer(2), 0);
}

Result<Value> is_divisible_by(Runtime& runtime, Arguments& arguments) {
    TRY_ASSIGN(const Bound bound, bind("divisibleby", arguments, {"value", "num"}, 2));
    return remainder_is(runtime, bound[0], bound[1], 0);
}

template <bool wanted>
Result<Value> is_equal(Runtime& runtime, Arguments& arguments) {
    TRY_ASSIGN(const Bound bound, bind("eq", arguments, {"", ""}, 2));
    TRY_ASSIGN(const bool same, equal(runtime, bound[0], bound[1]));
    return Value::boolean(same == wanted);
}

template <Operation operation>
Result<Value> is_ordered(Runtime& runtime, Arguments& arguments) {
    TRY_ASSIGN(const Bound bound, bind("comparison", arguments, {"", ""}, 2));
    TRY_ASSIGN(const bool holds, ordered(runtime, operation, bound[0], bound[1]));
    return Value::boolean(holds);
}

Result<Value> is_in(Runtime& runtime, Arguments& arguments) {
    TRY_ASSIGN(const Bound bound, bind("in", arguments, {"value", "seq"}, 2));
    TRY_ASSIGN(const bool found, contains(runtime, bound[1], bound[0]));
    return Value::boolean(found);
}

// Identity. In Python none, booleans, small integers and literals have one object each, so equal values of those kinds
// count as the same.
Result<Value> is_same_as(Runtime& runtime, Arguments& arguments) {
    TRY_ASSIGN(const Bound bound, bind("sameas", arguments, {"value", "other"}, 2));
    if (bound[0].kind() != bound[1].kind()) return Value::boolean(false);
    if (bound[0].is_object() && !bound[0].is(Kind::kString))
        return Value::boolean(bound[0].object() == bound[1].object());
    TRY_ASSIGN(const bool same, equal(runtime, bound[0], bound[1]));
    return Value::boolean(same);
}

template <bool is_filter>
Result<Value> exists(Runtime& runtime, Arguments& arguments) {
    TRY_ASSIGN(const Bound bound, bind(is_filter ? "filter" : "test", arguments, {"value"}));
    TRY(hash_of(runtime, bound[0]));
    if (!bound[0].is(Kind::kString)) return Value::boolean(false);
    const std::string_view name = bound[0].text();
    return Value::boolean(is_filter ? find_filter(name) != nullptr : find_test(name) != nullptr);
}

constexpr Builtin kTests[] = {
    {"defined", ask<is_defined>},
    {"undefined", ask<is_undefined>},
    {"none", ask<is_none>},
    {"boolean", ask<is_boolean>},
    {"true", ask<is_the_true>},
    {"false", ask<is_the_false>},
    {"integer", ask<is_integer>},
    {"float", ask<is_float>},
    {"number", ask<is_a_number>},
    {"string", ask<is_string>},
    {"mapping", ask<is_mapping>},
    {"sequence", ask<is_a_sequence>},
    {"iterable", ask<is_iterable>},
    {"callable", ask<is_callable>},
    {"escaped", ask<is_escaped>},
    {"upper", has_case<true>},
    {"lower", has_case<false>},
    {"odd", is_odd},
    {"even", is_even},
    {"divisibleby", is_divisible_by},
    {"in", is_in},
    {"sameas", is_same_as},
    {"filter", exists<true>},
    {"test", exists<false>},
    {"==", is_equal<true>},
    {"eq", is_equal<true>},
    {"equalto", is_equal<true>},
    {"!=", is_equal<false>},
    {"ne", is_equal<false>},
    {"<", is_ordered<Operation::kLess>},
    {"lt", is_ordered<Operation::kLess>},
    {"lessthan", is_ordered<Operation::kLess>},
    {"<=", is_ordered<Operation::kLessEqual>},
    {"le", is_ordered<Operation::kLessEqual>},
    {">", is_ordered<Operation::kGreater>},
    {"gt", is_ordered<Operation::kGreater>},
    {"greaterthan", is_ordered<Operation::kGreater>},
    {">=", is_ordered<Operation::kGreaterEqual>},
    {"ge", is_ordered<Operation::kGreaterEqual>},
};

}  // namespace

const Builtin* find_test(std::string_view name) { return find_in(kTests, name); }

}  // namespace invar::jinja
