// Executes statements, which write text.
#include "jinja/builtins.h"
#include "jinja/compare.h"
#include "jinja/evaluator.h"

namespace invar::jinja {

Result<std::string> Evaluator::render(Value context) {
    context_ = std::move(context);
    Value variables(
        heap().make<Activation>(program_.slots * static_cast<int64_t>(sizeof(Value)), program_.slots, Value()));
    TRY(enter(program_.frame, variables.as<Activation>()));
    Text out(*this);
    TRY(execute(program_.body, variables, out));
    return out.take();
}

Result<void> Evaluator::enter(const Frame& frame, Activation& variables) {
    for (const Load& load : frame.loads) {
        if (load.from == Load::From::kParameter) continue;
        Value value;
        if (load.from == Load::From::kOuter) {
            value = slot(variables, load.outer);
        } else if (load.from == Load::From::kContext) {
            if (const Value* given = context_.as<Dict>().find(load.name)) {
                value = *given;
            } else if (const Builtin* function_row = find_function(load.name)) {
                value = function(*function_row);
            }
        }
        variables.slots[static_cast<size_t>(load.slot)] = std::move(value);
    }
    return step(static_cast<int64_t>(frame.loads.size()));
}

void Evaluator::leave(const Frame& frame, Activation& variables) {
    for (const Load& load : frame.loads) variables.slots[static_cast<size_t>(load.slot)] = Value();
}

Result<Evaluator::Flow> Evaluator::execute(const Body& body, Value& variables, Text& out) {
    for (const Statement* statement : body) {
        const Nesting nesting(*this);
        auto allowed = nesting.check();
        if (allowed) allowed = step();
        if (!allowed) return at_line<Flow>(statement->line, pass_on(std::move(allowed)));
        TRY_ASSIGN(const Flow flow, at_line(statement->line, execute(*statement, variables, out)));
        if (flow != Flow::kOn) return flow;
    }
    return Flow::kOn;
}

Result<Evaluator::Flow> Evaluator::execute(const Statement& s, Value& variables, Text& out) {
    switch (s.kind) {
        case StatementKind::kText:
            TRY(out.append(s.text));
            break;
        case StatementKind::kPrint: {
            TRY_ASSIGN(const Value value, evaluate(*s.expression, variables));
            TRY(append_text(out, *this, value));
            break;
        }
        case StatementKind::kIf:
            return execute_if(s, variables, out);
        case StatementKind::kFor:
            return execute_for(s, variables, out);
        case StatementKind::kSet: {
            TRY(check_namespaces(*s.target, variables.as<Activation>()));
            TRY_ASSIGN(Value value, evaluate(*s.expression, variables));
            TRY(assign(*s.target, std::move(value), variables.as<Activation>()));
            break;
        }
        case StatementKind::kSetBlock:
        case StatementKind::kFilterBlock:
            return execute_capture(s, variables, out);
        case StatementKind::kMacro:
            slot(variables.as<Activation>(), s.variable) = Value(heap().make<Macro>(0, s, variables));
            break;
        case StatementKind::kCallBlock:
        case StatementKind::kGeneration:
            TRY(execute_function(s, variables, out));
            break;
        case StatementKind::kWith:
            return execute_with(s, variables, out);
        case StatementKind::kBreak:
            return Flow::kBreak;
        case StatementKind::kContinue:
            return Flow::kContinue;
    }
    return Flow::kOn;
}

Result<Evaluator::Flow> Evaluator::execute_if(const Statement& s, Value& variables, Text& out) {
    for (const Branch& branch : s.branches) {
        TRY_ASSIGN(const Value test, at_line(branch.line, evaluate(*branch.test, variables)));
        if (is_true(test)) return execute(branch.body, variables, out);
    }
    return execute(s.else_body, variables, out);
}

Result<void> Evaluator::check_namespaces(const Expression& target, Activation& variables) {
    if (target.kind == ExpressionKind::kNamespace && !slot(variables, target.slot).is(Kind::kNamespace))
        return fail("'{}' is no namespace, so '{}.{}' cannot be set", target.text, target.text, target.attribute);
    for (const Expression* item : target.operands) TRY(check_namespaces(*item, variables));
    return {};
}

Result<void> Evaluator::assign(const Expression& target, Value value, Activation& variables) {
    if (target.kind == ExpressionKind::kName) {
        slot(variables, target.slot) = std::move(value);
        return {};
    }
    if (target.kind == ExpressionKind::kNamespace) {
        // An earlier target of the same tuple may have replaced the namespace.
        const Value space = slot(variables, target.slot);
        if (!space.is(Kind::kNamespace)) return fail("'{}' is no namespace", target.text);
        TRY_ASSIGN(Value key, string(target.attribute));
        return space.as<Namespace>().attributes.as<Dict>().set(*this, std::move(key), std::move(value));
    }
    TRY_ASSIGN(std::vector<Value> items, to_vector(*this, value));
    if (items.size() != target.operands.size())
        return fail("cannot unpack {} values into {} variables", items.size(), target.operands.size());
    for (size_t i = 0; i < items.size(); ++i) TRY(assign(*target.operands[i], std::move(items[i]), variables));
    return {};
}

Result<Evaluator::Flow> Evaluator::execute_with(const Statement& s, Value& variables, Text& out) {
    TRY(enter(s.frame, variables.as<Activation>()));
    for (size_t i = 0; i < s.targets.size(); ++i) {
        TRY_ASSIGN(Value value, evaluate(*s.values[i], variables));
        TRY(assign(*s.targets[i], std::move(value), variables.as<Activation>()));
    }
    TRY_ASSIGN(const Flow flow, execute(s.body, variables, out));
    leave(s.frame, variables.as<Activation>());
    return flow;
}

// {% set x %}...{% endset %} and {% filter f %}...{% endfilter %}.
Result<Evaluator::Flow> Evaluator::execute_capture(const Statement& s, Value& variables, Text& out) {
    TRY(enter(s.frame, variables.as<Activation>()));
    Text captured(*this);
    TRY_ASSIGN(const Flow flow, execute(s.body, variables, captured));
    if (flow != Flow::kOn) {
        leave(s.frame, variables.as<Activation>());
        return flow;
    }
    TRY_ASSIGN(Value value, string(captured.take()));
    if (s.expression != nullptr) {
        TRY_ASSIGN(value, evaluate_filter(*s.expression, variables, &value));
    }
    if (s.kind == StatementKind::kSetBlock) {
        TRY(check_namespaces(*s.target, variables.as<Activation>()));
        TRY(assign(*s.target, std::move(value), variables.as<Activation>()));
    } else {
        if (!value.is(Kind::kString)) return fail("a filter block must give text, not a {}", type_name(value));
        TRY(out.append(value.text()));
    }
    leave(s.frame, variables.as<Activation>());
    return flow;
}

// The items of a loop that pass its `if`. As in jinja2, the filter is a function of its own: it sees the outer
// variables as they are when an item is pulled.
class FilteredItems : public Iterator {
  public:
    FilteredItems(Evaluator& evaluator, const Statement& loop, std::unique_ptr<Iterator> items, Value variables)
        : evaluator_(evaluator), loop_(loop), items_(std::move(items)), variables_(std::move(variables)) {}

    Result<bool> next(Runtime& runtime, Value& item) override {
        if (!entered_) TRY(evaluator_.enter(loop_.test_frame, variables_.as<Activation>()));
        entered_ = true;
        while (true) {
            TRY_ASSIGN(const bool more, items_->next(runtime, item));
            if (!more) return false;
            TRY(evaluator_.assign(*loop_.test_target, item, variables_.as<Activation>()));
            TRY_ASSIGN(const Value test, evaluator_.evaluate(*loop_.test, variables_));
            if (!is_true(test)) continue;
            TRY_ASSIGN(item, evaluator_.evaluate(*loop_.test_target, variables_));
            return true;
        }
    }

  private:
    Evaluator& evaluator_;
    const Statement& loop_;
    std::unique_ptr<Iterator> items_;
    Value variables_;
    bool entered_ = false;
};

Result<Evaluator::Flow> Evaluator::execute_for(const Statement& s, Value& variables, Text& out) {
    TRY_ASSIGN(const Value iterable, evaluate(*s.expression, variables));
    if (!s.is_recursive) return run_loop(s, iterable, 0, variables, variables, out);
    TRY_ASSIGN(const Value text, run_recursive_loop(s, iterable, 0, variables));
    TRY(out.append(text.text()));
    return Flow::kOn;
}

Result<Value> Evaluator::run_recursive_loop(const Statement& s, const Value& iterable, int64_t depth, Value enclosing) {
    Value variables(heap().make<Activation>(s.slots * static_cast<int64_t>(sizeof(Value)), s.slots, enclosing));
    Text out(*this);
    TRY(run_loop(s, iterable, depth, enclosing, variables, out));
    return string(out.take());
}

// `variables`: where the loop's body runs. `enclosing`: where the loop stands (the same unless the loop is recursive).
Result<Evaluator::Flow> Evaluator::run_loop(const Statement& s, const Value& iterable, int64_t depth, Value& enclosing,
                                            Value& variables, Text& out) {
    TRY_ASSIGN(std::unique_ptr<Iterator> items, iterate(*this, iterable));
    if (s.test != nullptr) {
        Value filter(
            heap().make<Activation>(s.test_slots * static_cast<int64_t>(sizeof(Value)), s.test_slots, enclosing));
        items = std::make_unique<FilteredItems>(*this, s, std::move(items), std::move(filter));
    }
    Value loop(heap().make<Loop>(0, s.test != nullptr ? Value() : iterable, std::move(items), depth));
    if (s.is_recursive) loop.as<Loop>().recursive = &s, loop.as<Loop>().enclosing = enclosing;
    Activation& slots = variables.as<Activation>();
    bool completed_one = false;  // an iteration that ends in break or continue does not count, as in jinja2
    while (true) {
        TRY_ASSIGN(const bool more, loop.as<Loop>().advance(*this));
        if (!more) break;
        if (s.loop_slot >= 0) slots.slots[static_cast<size_t>(s.loop_slot)] = loop;
        TRY(assign(*s.target, loop.as<Loop>().current, slots));
        TRY(enter(s.frame, slots));
        TRY_ASSIGN(const Flow flow, execute(s.body, variables, out));
        completed_one = completed_one || flow == Flow::kOn;
        if (flow == Flow::kBreak) break;
    }
    leave(s.frame, slots);
    if (completed_one || s.else_body.empty()) return Flow::kOn;
    TRY(enter(s.else_frame, slots));
    TRY_ASSIGN(const Flow flow, execute(s.else_body, variables, out));
    leave(s.else_frame, slots);
    return flow;
}

}  // namespace invar::jinja
