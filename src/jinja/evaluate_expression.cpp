// Evaluates expressions to values.
#include "jinja/attributes.h"
#include "jinja/builtins.h"
#include "jinja/compare.h"
#include "jinja/evaluator.h"
#include "jinja/numbers.h"
#include "jinja/operators.h"

namespace invar::jinja {

Value& Evaluator::slot(Activation& variables, const Slot& slot) {
    Activation* owner = &variables;
    for (int hops = slot.hops; hops > 0; --hops) owner = &owner->parent.as<Activation>();
    return owner->slots[static_cast<size_t>(slot.index)];
}

Result<Value> Evaluator::evaluate(const Expression& expression, Value& variables) {
    const Nesting nesting(*this);
    auto allowed = nesting.check();
    if (allowed) allowed = step();
    if (!allowed) return at_line<Value>(expression.line, pass_on(std::move(allowed)));
    return at_line(expression.line, evaluate_kind(expression, variables));
}

Result<Value> Evaluator::evaluate_kind(const Expression& e, Value& variables) {
    switch (e.kind) {
        case ExpressionKind::kConstant:
            return evaluate_constant(e);
        case ExpressionKind::kName: {
            const Value& value = slot(variables.as<Activation>(), e.slot);
            if (!value.is(Kind::kMissing)) return value;
            return undefined(fmt::format("'{}' is undefined; pass it or fix the template", e.text));
        }
        case ExpressionKind::kTuple:
        case ExpressionKind::kList:
            return evaluate_items(e, variables);
        case ExpressionKind::kDict:
            return evaluate_dict(e, variables);
        case ExpressionKind::kUnary:
            return evaluate_unary(e, variables);
        case ExpressionKind::kBinary:
            return evaluate_binary(e, variables);
        case ExpressionKind::kCompare:
            return evaluate_compare(e, variables);
        case ExpressionKind::kConcat:
            return evaluate_concat(e, variables);
        case ExpressionKind::kCondition: {
            TRY_ASSIGN(const Value test, evaluate(*e.operands[0], variables));
            if (is_true(test)) return evaluate(*e.operands[1], variables);
            if (e.operands[2] != nullptr) return evaluate(*e.operands[2], variables);
            return undefined("this inline if has no else, and its condition is false");
        }
        case ExpressionKind::kAttribute: {
            TRY_ASSIGN(const Value object, evaluate(*e.operands[0], variables));
            return get_attribute(*this, object, e.text);
        }
        case ExpressionKind::kItem:
        case ExpressionKind::kSlice:
            return evaluate_subscript(e, variables);
        case ExpressionKind::kCall:
            return evaluate_call(e, variables);
        case ExpressionKind::kFilter:
            return evaluate_filter(e, variables);
        case ExpressionKind::kTest:
            return evaluate_test(e, variables);
        case ExpressionKind::kNamespace:
            break;  // occurs only as a target of assignment
    }
    return Value::none();
}

Result<Value> Evaluator::evaluate_constant(const Expression& e) {
    Value& cached = constants_[static_cast<size_t>(e.constant)];
    if (!cached.is(Kind::kMissing)) return cached;
    const Constant& constant = program_.constants[static_cast<size_t>(e.constant)];
    if (const auto* text = std::get_if<std::string>(&constant)) {
        TRY_ASSIGN(cached, string(*text));
    } else if (const auto* integer = std::get_if<int64_t>(&constant)) {
        cached = Value::integer(*integer);
    } else if (const auto* real = std::get_if<double>(&constant)) {
        cached = Value::real(*real);
    } else if (const auto* boolean = std::get_if<bool>(&constant)) {
        cached = Value::boolean(*boolean);
    } else {
        cached = Value::none();
    }
    return cached;
}

Result<Value> Evaluator::evaluate_items(const Expression& e, Value& variables) {
    std::vector<Value> items;
    items.reserve(e.operands.size());
    for (const Expression* operand : e.operands) {
        TRY_ASSIGN(Value item, evaluate(*operand, variables));
        items.push_back(std::move(item));
    }
    return e.kind == ExpressionKind::kList ? list(std::move(items)) : tuple(std::move(items));
}

Result<Value> Evaluator::evaluate_dict(const Expression& e, Value& variables) {
    Value out = dict();
    for (size_t i = 0; i + 1 < e.operands.size(); i += 2) {
        TRY_ASSIGN(Value key, evaluate(*e.operands[i], variables));
        TRY_ASSIGN(Value value, evaluate(*e.operands[i + 1], variables));
        TRY(out.as<Dict>().set(*this, std::move(key), std::move(value)));
    }
    return out;
}

Result<Value> Evaluator::evaluate_unary(const Expression& e, Value& variables) {
    TRY_ASSIGN(const Value operand, evaluate(*e.operands[0], variables));
    if (e.operation == Operation::kNot) return Value::boolean(!is_true(operand));
    if (operand.is(Kind::kUndefined)) return fail_undefined(operand);
    const bool is_negation = e.operation == Operation::kNegate;
    if (!operand.is_number()) return fail("'{}' needs a number, not a {}", is_negation ? '-' : '+', type_name(operand));
    if (is_negation) return negated(operand);
    return operand.is(Kind::kFloat) ? operand : Value::integer(operand.as_integer());
}

Result<Value> Evaluator::evaluate_binary(const Expression& e, Value& variables) {
    TRY_ASSIGN(Value left, evaluate(*e.operands[0], variables));
    if (e.operation == Operation::kAnd || e.operation == Operation::kOr) {
        if (is_true(left) == (e.operation == Operation::kOr)) return left;
        return evaluate(*e.operands[1], variables);
    }
    TRY_ASSIGN(const Value right, evaluate(*e.operands[1], variables));
    return operate(*this, e.operation, left, right);
}

Result<Value> Evaluator::evaluate_compare(const Expression& e, Value& variables) {
    TRY_ASSIGN(Value left, evaluate(*e.operands[0], variables));
    for (size_t i = 0; i < e.comparisons.size(); ++i) {
        TRY_ASSIGN(Value right, evaluate(*e.operands[i + 1], variables));
        bool holds = false;
        switch (e.comparisons[i]) {
            case Operation::kEqual:
            case Operation::kNotEqual: {
                TRY_ASSIGN(const bool same, equal(*this, left, right));
                holds = same == (e.comparisons[i] == Operation::kEqual);
                break;
            }
            case Operation::kIn:
            case Operation::kNotIn: {
                TRY_ASSIGN(const bool found, contains(*this, right, left));
                holds = found == (e.comparisons[i] == Operation::kIn);
                break;
            }
            default: {
                TRY_ASSIGN(holds, ordered(*this, e.comparisons[i], left, right));
            }
        }
        if (!holds) return Value::boolean(false);
        left = std::move(right);
    }
    return Value::boolean(true);
}

Result<Value> Evaluator::evaluate_concat(const Expression& e, Value& variables) {
    Text out(*this);
    for (const Expression* operand : e.operands) {
        TRY_ASSIGN(const Value value, evaluate(*operand, variables));
        TRY(append_text(out, *this, value));
    }
    return string(out.take());
}

Result<Value> Evaluator::evaluate_subscript(const Expression& e, Value& variables) {
    TRY_ASSIGN(const Value object, evaluate(*e.operands[0], variables));
    if (e.kind == ExpressionKind::kItem) {
        TRY_ASSIGN(const Value key, evaluate(*e.operands[1], variables));
        return get_item(*this, object, key);
    }
    Value bounds[3];
    for (size_t i = 0; i < 3; ++i) {
        if (e.operands[i + 1] == nullptr) continue;
        TRY_ASSIGN(bounds[i], evaluate(*e.operands[i + 1], variables));
    }
    return get_slice(*this, object, bounds[0], bounds[1], bounds[2]);
}

Result<Arguments> Evaluator::evaluate_arguments(const Expression& call, Value& variables, const Value* first) {
    Arguments arguments;
    if (first != nullptr) arguments.positional.push_back(*first);
    for (const Expression* argument : call.positional) {
        TRY_ASSIGN(Value value, evaluate(*argument, variables));
        arguments.positional.push_back(std::move(value));
    }
    if (call.spread_positional != nullptr) {
        TRY_ASSIGN(const Value spread, evaluate(*call.spread_positional, variables));
        TRY_ASSIGN(const std::vector<Value> items, to_vector(*this, spread));
        arguments.positional.insert(arguments.positional.end(), items.begin(), items.end());
    }
    for (const auto& [name, argument] : call.keywords) {
        TRY_ASSIGN(Value value, evaluate(*argument, variables));
        arguments.keywords.emplace_back(name, std::move(value));
    }
    if (call.spread_keywords != nullptr) {
        TRY_ASSIGN(const Value spread, evaluate(*call.spread_keywords, variables));
        if (spread.is(Kind::kUndefined)) return fail_undefined(spread);
        if (!spread.is(Kind::kDict)) return fail("'**' needs a dict, not a {}", type_name(spread));
        for (const Dict::Entry& entry : spread.as<Dict>().entries) {
            if (!entry.key.is(Kind::kString)) return fail("'**' needs str keys, not {}", type_name(entry.key));
            arguments.keywords.emplace_back(std::string(entry.key.text()), entry.value);
        }
    }
    return arguments;
}

Result<Value> Evaluator::evaluate_filter(const Expression& e, Value& variables, const Value* block) {
    Value input;
    if (e.operands[0] == nullptr) {
        input = *block;
    } else if (block != nullptr) {
        TRY_ASSIGN(input, evaluate_filter(*e.operands[0], variables, block));
    } else {
        TRY_ASSIGN(input, evaluate(*e.operands[0], variables));
    }
    if (e.builtin == nullptr) return fail("there is no filter '{}'", e.text);
    TRY_ASSIGN(Arguments arguments, evaluate_arguments(e, variables, &input));
    return e.builtin->run(*this, arguments);
}

Result<Value> Evaluator::evaluate_test(const Expression& e, Value& variables) {
    TRY_ASSIGN(const Value input, evaluate(*e.operands[0], variables));
    if (e.builtin == nullptr) return fail("there is no test '{}'", e.text);
    TRY_ASSIGN(Arguments arguments, evaluate_arguments(e, variables, &input));
    return e.builtin->run(*this, arguments);
}

}  // namespace invar::jinja
