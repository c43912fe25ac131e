// The compiled template: a tree of statements and expressions whose variables are slots. The parser builds it,
// scopes.cpp fills in slots and frames, and the evaluator only reads it, so many threads may render one Program.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "jinja/value.h"

namespace invar::jinja {

enum class Operation : uint8_t {
    kAdd,
    kSubtract,
    kMultiply,
    kDivide,
    kFloorDivide,
    kModulo,
    kPower,
    kAnd,
    kOr,
    kNot,
    kNegate,
    kPlus,
    kEqual,
    kNotEqual,
    kLess,
    kLessEqual,
    kGreater,
    kGreaterEqual,
    kIn,
    kNotIn,
};

// A variable: entry `index` of the Activation that lies `hops` functions further out.
struct Slot {
    int hops = 0;
    int index = -1;
};

enum class ExpressionKind : uint8_t {
    kConstant,   // constant
    kName,       // text, slot
    kNamespace,  // text.attribute as an assignment target: text, attribute, slot
    kTuple,      // operands
    kList,       // operands
    kDict,       // operands: key, value, key, value, ...
    kUnary,      // operation, operands[0]
    kBinary,     // operation, operands[0..1]
    kCompare,    // operands[0] comparisons[0] operands[1] comparisons[1] ...
    kConcat,     // operands, joined as text
    kCondition,  // operands: test, then, else (nullptr if absent)
    kAttribute,  // operands[0].text
    kItem,       // operands[0][operands[1]]
    kSlice,      // operands[0][operands[1]:operands[2]:operands[3]], absent ones nullptr
    kCall,       // operands[0](arguments)
    kFilter,     // operands[0] | text(arguments); operands[0] is nullptr in filter blocks
    kTest,       // operands[0] is text(arguments)
};

struct Expression {
    ExpressionKind kind;
    Operation operation = Operation::kAdd;
    int line = 0;
    int height = 1;     // levels of expressions below and including this one
    int constant = -1;  // index in Program::constants
    Slot slot;
    std::string text;
    std::string attribute;
    std::vector<Expression*> operands;
    std::vector<Operation> comparisons;
    // Arguments of calls, filters and tests. The spreads are *args and **kwargs.
    std::vector<Expression*> positional;
    std::vector<std::pair<std::string, Expression*>> keywords;
    Expression* spread_positional = nullptr;
    Expression* spread_keywords = nullptr;
    const Builtin* builtin = nullptr;  // of a filter or test; nullptr: unknown, which is an error when it is reached
};

// How a variable is filled when its frame (a loop body, a macro, a block) is entered.
struct Load {
    enum class From : uint8_t { kParameter, kContext, kOuter, kNothing } from;
    int slot;
    Slot outer;        // kOuter: copied from here
    std::string name;  // kContext: looked up there
};
struct Frame {
    std::vector<Load> loads;
};

enum class StatementKind : uint8_t {
    kText,         // text
    kPrint,        // expression
    kIf,           // branches, else_body
    kFor,          // target, expression, test, body, else_body, is_recursive
    kSet,          // target, expression
    kSetBlock,     // target, expression (a filter, or nullptr), body
    kMacro,        // text, parameters, defaults, body
    kCallBlock,    // expression (the call), parameters, defaults, body
    kFilterBlock,  // expression (the innermost filter has no operand), body
    kWith,         // targets, values, body
    kGeneration,   // body: printed, in a scope of its own
    kBreak,
    kContinue,
};

struct Statement;
using Body = std::vector<Statement*>;

struct Branch {
    Expression* test;
    Body body;
    int line;
};

struct Statement {
    StatementKind kind;
    int line = 0;
    int height = 1;
    bool is_recursive = false;
    std::string text;
    Expression* target = nullptr;
    Expression* expression = nullptr;
    Expression* test = nullptr;
    std::vector<Branch> branches;
    std::vector<Expression*> targets, values;
    std::vector<Expression*> parameters, defaults;
    Body body, else_body;

    // scopes.cpp fills these in. `slots` counts the variables of a statement that is a function of its own: a macro, a
    // call block, a generation block, a recursive loop. test_slots counts those of a loop's filter, which is a function
    // too.
    Frame frame, else_frame, test_frame;
    int slots = 0, test_slots = 0;
    Slot variable;                      // of a macro: the variable that holds it
    Expression* test_target = nullptr;  // the loop's target again, with the slots of its filter
    int loop_slot = -1;
    int caller_slot = -1, keywords_slot = -1, positional_slot = -1;
};

using Constant = std::variant<std::monostate, bool, int64_t, double, std::string>;  // monostate: none

struct Program {
    std::deque<Expression> expressions;  // owns all expressions; a flat list, so that no destructor recurses
    std::deque<Statement> statements;
    std::vector<Constant> constants;
    Body body;
    Frame frame;
    int slots = 0;
    std::vector<std::string> free_variables;
};

// Deeper nesting is a syntax error. jinja2 itself stops earlier: it compiles to Python, which allows 200 brackets.
constexpr int kMaximumHeight = 200;

}  // namespace invar::jinja
