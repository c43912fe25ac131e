// Runs a Program: statements write text, expressions give values, and every step is counted. Statements are in
// evaluate_statement.cpp, expressions in evaluate_expression.cpp, macros and calls in evaluate_call.cpp.
#pragma once

#include "jinja/iterate.h"
#include "jinja/runtime.h"
#include "jinja/text.h"
#include "jinja/tree.h"

namespace invar::jinja {

class Evaluator : public Runtime {
  public:
    // `context`: a Dict of the template's variables, made with this Runtime's heap.
    Evaluator(const Program& program, const TemplateLimits& limits, int64_t now_seconds)
        : Runtime(limits, now_seconds), program_(program), constants_(program.constants.size()) {}

    Result<std::string> render(Value context);
    Result<Value> call(const Value& callee, Arguments arguments) override;

    // After a failure: the line of the innermost statement or expression that failed, 0 if none did.
    int error_line() const { return error_line_; }

  private:
    friend class FilteredItems;
    enum class Flow : uint8_t { kOn, kBreak, kContinue };

    Result<void> enter(const Frame& frame, Activation& variables);
    static void leave(const Frame& frame, Activation& variables);
    Value& slot(Activation& variables, const Slot& slot);
    template <class T>
    Result<T> at_line(int line, Result<T> result) {
        if (!result && error_line_ == 0) error_line_ = line;
        return result;
    }

    // Statements.
    Result<Flow> execute(const Body& body, Value& variables, Text& out);
    Result<Flow> execute(const Statement& statement, Value& variables, Text& out);
    Result<Flow> execute_if(const Statement& statement, Value& variables, Text& out);
    Result<Flow> execute_for(const Statement& statement, Value& variables, Text& out);
    Result<Flow> execute_with(const Statement& statement, Value& variables, Text& out);
    Result<Flow> execute_capture(const Statement& statement, Value& variables, Text& out);
    Result<void> execute_function(const Statement& statement, Value& variables, Text& out);
    Result<Flow> run_loop(const Statement& statement, const Value& iterable, int64_t depth, Value& enclosing,
                          Value& variables, Text& out);
    Result<Value> run_recursive_loop(const Statement& statement, const Value& iterable, int64_t depth, Value enclosing);
    Result<void> assign(const Expression& target, Value value, Activation& variables);
    Result<void> check_namespaces(const Expression& target, Activation& variables);

    // Expressions.
    Result<Value> evaluate(const Expression& expression, Value& variables);
    Result<Value> evaluate_kind(const Expression& expression, Value& variables);
    Result<Value> evaluate_constant(const Expression& expression);
    Result<Value> evaluate_items(const Expression& expression, Value& variables);
    Result<Value> evaluate_dict(const Expression& expression, Value& variables);
    Result<Value> evaluate_unary(const Expression& expression, Value& variables);
    Result<Value> evaluate_binary(const Expression& expression, Value& variables);
    Result<Value> evaluate_compare(const Expression& expression, Value& variables);
    Result<Value> evaluate_concat(const Expression& expression, Value& variables);
    Result<Value> evaluate_subscript(const Expression& expression, Value& variables);
    Result<Value> evaluate_call(const Expression& expression, Value& variables, const Value* caller = nullptr);
    Result<Value> evaluate_filter(const Expression& expression, Value& variables, const Value* block = nullptr);
    Result<Value> evaluate_test(const Expression& expression, Value& variables);
    Result<Arguments> evaluate_arguments(const Expression& call, Value& variables, const Value* first);

    // Calls.
    Result<Value> call_macro(const Macro& macro, Arguments arguments);
    Result<void> bind_parameters(const Statement& macro, Arguments arguments, Value& variables);

    const Program& program_;
    std::vector<Value> constants_;  // made from the program's constants when first used
    Value context_;
    int error_line_ = 0;
    int calls_ = 0;  // how many macro calls and recursive loops are nested now
};

}  // namespace invar::jinja
