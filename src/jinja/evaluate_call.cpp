// Calls: functions, methods, macros with their defaults, varargs, kwargs and caller, and recursive loops.
#include <algorithm>

#include "jinja/compare.h"
#include "jinja/evaluator.h"

namespace invar::jinja {

Result<Value> Evaluator::evaluate_call(const Expression& e, Value& variables, const Value* caller) {
    TRY_ASSIGN(const Value callee, evaluate(*e.operands[0], variables));
    TRY_ASSIGN(Arguments arguments, evaluate_arguments(e, variables, nullptr));
    if (caller != nullptr) arguments.keywords.emplace_back("caller", *caller);
    return call(callee, std::move(arguments));
}

Result<Value> Evaluator::call(const Value& callee, Arguments arguments) {
    switch (callee.kind()) {
        case Kind::kUndefined:
            return fail_undefined(callee);
        case Kind::kFunction: {
            const Function& function = callee.as<Function>();
            if (!function.self.is(Kind::kMissing))
                arguments.positional.insert(arguments.positional.begin(), function.self);
            return function.builtin.run(*this, arguments);
        }
        case Kind::kMacro:
            return call_macro(callee.as<Macro>(), std::move(arguments));
        case Kind::kJoiner: {
            Joiner& joiner = callee.as<Joiner>();
            if (!arguments.positional.empty() || !arguments.keywords.empty())
                return fail("a joiner takes no arguments");
            if (joiner.used) return joiner.separator;
            joiner.used = true;
            return string("");
        }
        case Kind::kLoop: {
            const Loop& loop = callee.as<Loop>();
            if (loop.recursive == nullptr) return fail("only the loop of a 'for' marked 'recursive' can be called");
            if (arguments.positional.size() != 1 || !arguments.keywords.empty())
                return fail("loop() takes one argument, what to iterate over");
            if (calls_ >= limits().depth) return fail("recursive loops are nested deeper than {}", limits().depth);
            ++calls_;
            auto result = run_recursive_loop(*loop.recursive, arguments.positional[0], loop.depth0 + 1, loop.enclosing);
            --calls_;
            return result;
        }
        default:
            return fail("a {} cannot be called", type_name(callee));
    }
}

namespace {

// Removes the keyword argument and returns its value, or kMissing.
Value take_keyword(Arguments& arguments, std::string_view name) {
    const auto found = std::find_if(arguments.keywords.begin(), arguments.keywords.end(),
                                    [&](const auto& keyword) { return keyword.first == name; });
    if (found == arguments.keywords.end()) return Value();
    Value value = std::move(found->second);
    arguments.keywords.erase(found);
    return value;
}

}  // namespace

Result<void> Evaluator::bind_parameters(const Statement& macro, Arguments arguments, Value& variables) {
    auto& slots = variables.as<Activation>().slots;
    const auto place = [&](int index) -> Value& { return slots[static_cast<size_t>(index)]; };
    const size_t count = macro.parameters.size();
    const size_t given = std::min(arguments.positional.size(), count);
    for (size_t i = 0; i < count; ++i)
        place(macro.parameters[i]->slot.index) =
            i < given ? arguments.positional[i] : take_keyword(arguments, macro.parameters[i]->text);
    if (macro.caller_slot >= 0) {
        Value caller = take_keyword(arguments, "caller");
        if (caller.is(Kind::kMissing) || caller.is(Kind::kNone))
            caller = undefined("this macro was not called with a call block");
        place(macro.caller_slot) = std::move(caller);
    }
    if (macro.keywords_slot >= 0) {
        Value rest = dict();
        for (auto& [name, value] : arguments.keywords) {
            TRY_ASSIGN(Value key, string(name));
            TRY(rest.as<Dict>().set(*this, std::move(key), std::move(value)));
        }
        place(macro.keywords_slot) = std::move(rest);
    } else if (!arguments.keywords.empty()) {
        return fail("the macro '{}' has no parameter '{}'", macro.text, arguments.keywords[0].first);
    }
    if (macro.positional_slot >= 0) {
        TRY_ASSIGN(place(macro.positional_slot),
                   tuple({arguments.positional.begin() + static_cast<int64_t>(given), arguments.positional.end()}));
    } else if (arguments.positional.size() > count) {
        return fail("the macro '{}' takes {} arguments, not {}", macro.text, count, arguments.positional.size());
    }
    return {};
}

Result<Value> Evaluator::call_macro(const Macro& macro, Arguments arguments) {
    const Statement& s = macro.statement;
    if (calls_ >= limits().depth)
        return fail("macro calls are nested deeper than {}; does '{}' call itself without end?", limits().depth,
                    s.text);
    for (size_t i = 0; i < arguments.keywords.size(); ++i) {
        for (size_t j = 0; j < i; ++j) {
            if (arguments.keywords[i].first == arguments.keywords[j].first)
                return fail("the argument '{}' is given twice", arguments.keywords[i].first);
        }
    }
    Value variables(heap().make<Activation>(s.slots * static_cast<int64_t>(sizeof(Value)), s.slots, macro.enclosing));
    TRY(bind_parameters(s, std::move(arguments), variables));
    TRY(enter(s.frame, variables.as<Activation>()));
    const size_t without_default = s.parameters.size() - s.defaults.size();
    for (size_t i = 0; i < s.parameters.size(); ++i) {
        const auto index = static_cast<size_t>(s.parameters[i]->slot.index);
        if (!variables.as<Activation>().slots[index].is(Kind::kMissing)) continue;
        Value value;
        if (i < without_default) {
            value = undefined(fmt::format("the parameter '{}' was not given", s.parameters[i]->text));
        } else {
            TRY_ASSIGN(value, evaluate(*s.defaults[i - without_default], variables));
        }
        variables.as<Activation>().slots[index] = std::move(value);
    }
    ++calls_;
    Text out(*this);
    auto flow = execute(s.body, variables, out);
    --calls_;
    if (!flow) return pass_on(std::move(flow));
    return string(out.take());
}

// A call block hands its body to the macro as `caller`; a generation block only opens a scope.
Result<void> Evaluator::execute_function(const Statement& s, Value& variables, Text& out) {
    if (s.kind == StatementKind::kCallBlock) {
        const Value caller(heap().make<Macro>(0, s, variables));
        TRY_ASSIGN(const Value value, evaluate_call(*s.expression, variables, &caller));
        if (!value.is(Kind::kString))
            return fail("a call block must call something that gives text, not a {}", type_name(value));
        return out.append(value.text());
    }
    Value inner(heap().make<Activation>(s.slots * static_cast<int64_t>(sizeof(Value)), s.slots, variables));
    TRY(enter(s.frame, inner.as<Activation>()));
    TRY(execute(s.body, inner, out));
    return {};
}

}  // namespace invar::jinja
