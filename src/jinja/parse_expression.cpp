// Parses expressions. As in jinja2, powers associate to the left and a test binds tighter than 'not'.
#include <charconv>

#include "jinja/builtins.h"
#include "jinja/parser.h"

namespace invar::jinja {

Result<void> Parser::Level::check() const {
    if (parser_.level_ > kMaximumHeight)
        return parser_.fail_at(parser_.token().line, fmt::format("nested deeper than {} levels", kMaximumHeight));
    return {};
}

bool Parser::skip_name(std::string_view name) {
    if (!at_name(name)) return false;
    take();
    return true;
}

bool Parser::skip_operator(std::string_view text) {
    if (!at_operator(text)) return false;
    take();
    return true;
}

Result<void> Parser::expect(TokenKind kind, std::string_view what) {
    if (!at(kind)) return fail_at(token().line, fmt::format("expected {}, found {}", what, describe(token())));
    take();
    return {};
}

Result<void> Parser::expect_operator(std::string_view text) {
    if (!skip_operator(text))
        return fail_at(token().line, fmt::format("expected '{}', found {}", text, describe(token())));
    return {};
}

Result<std::string> Parser::expect_name() {
    if (!at(TokenKind::kName))
        return fail_at(token().line, fmt::format("expected a name, found {}", describe(token())));
    return take().text;
}

Expression* Parser::make(ExpressionKind kind, int line) {
    Expression& expression = program_.expressions.emplace_back();
    expression.kind = kind;
    expression.line = line;
    return &expression;
}

Parser::Tree Parser::finish(Expression* expression) {
    int below = 0;
    const auto look_at = [&](const Expression* child) {
        if (child != nullptr) below = std::max(below, child->height);
    };
    for (const Expression* child : expression->operands) look_at(child);
    for (const Expression* child : expression->positional) look_at(child);
    for (const auto& [name, child] : expression->keywords) look_at(child);
    look_at(expression->spread_positional);
    look_at(expression->spread_keywords);
    expression->height = below + 1;
    if (expression->height > kMaximumHeight)
        return fail_at(expression->line, fmt::format("an expression of more than {} levels", kMaximumHeight));
    return expression;
}

Parser::Tree Parser::constant(Constant value, int line) {
    Expression* expression = make(ExpressionKind::kConstant, line);
    expression->constant = static_cast<int>(program_.constants.size());
    program_.constants.push_back(std::move(value));
    return expression;
}

Parser::Tree Parser::unary(Operation operation, Expression* operand, int line) {
    Expression* expression = make(ExpressionKind::kUnary, line);
    expression->operation = operation;
    expression->operands = {operand};
    return finish(expression);
}

Parser::Tree Parser::binary(Operation operation, Expression* left, Expression* right, int line) {
    Expression* expression = make(ExpressionKind::kBinary, line);
    expression->operation = operation;
    expression->operands = {left, right};
    return finish(expression);
}

Parser::Tree Parser::parse_expression(bool with_condition) { return with_condition ? parse_condition() : parse_or(); }

Parser::Tree Parser::parse_condition() {
    TRY_ASSIGN(Expression * value, parse_or());
    while (at_name("if")) {
        Expression* condition = make(ExpressionKind::kCondition, take().line);
        TRY_ASSIGN(Expression * test, parse_or());
        Expression* otherwise = nullptr;
        if (skip_name("else")) {
            const Level level(*this);
            TRY(level.check());
            TRY_ASSIGN(otherwise, parse_condition());
        }
        condition->operands = {test, value, otherwise};
        TRY_ASSIGN(value, finish(condition));
    }
    return value;
}

Parser::Tree Parser::parse_or() {
    TRY_ASSIGN(Expression * left, parse_and());
    while (at_name("or")) {
        const int line = take().line;
        TRY_ASSIGN(Expression * right, parse_and());
        TRY_ASSIGN(left, binary(Operation::kOr, left, right, line));
    }
    return left;
}

Parser::Tree Parser::parse_and() {
    TRY_ASSIGN(Expression * left, parse_not());
    while (at_name("and")) {
        const int line = take().line;
        TRY_ASSIGN(Expression * right, parse_not());
        TRY_ASSIGN(left, binary(Operation::kAnd, left, right, line));
    }
    return left;
}

Parser::Tree Parser::parse_not() {
    if (!at_name("not")) return parse_compare();
    const Level level(*this);
    TRY(level.check());
    const int line = take().line;
    TRY_ASSIGN(Expression * operand, parse_not());
    return unary(Operation::kNot, operand, line);
}

Parser::Tree Parser::parse_compare() {
    struct Comparison {
        std::string_view sign;
        Operation operation;
    };
    constexpr Comparison kComparisons[] = {{"==", Operation::kEqual},  {"!=", Operation::kNotEqual},
                                           {"<", Operation::kLess},    {"<=", Operation::kLessEqual},
                                           {">", Operation::kGreater}, {">=", Operation::kGreaterEqual}};
    const int line = token().line;
    TRY_ASSIGN(Expression * first, parse_sum());
    Expression* chain = nullptr;
    while (true) {
        const Operation* found = nullptr;
        constexpr Operation kIn = Operation::kIn, kNotIn = Operation::kNotIn;
        for (const Comparison& comparison : kComparisons) {
            if (at_operator(comparison.sign)) found = &comparison.operation;
        }
        if (at_name("in")) found = &kIn;
        if (at_name("not") && at_name("in", 1)) {
            take();
            found = &kNotIn;
        }
        if (found == nullptr) break;
        take();
        if (chain == nullptr) {
            chain = make(ExpressionKind::kCompare, line);
            chain->operands = {first};
        }
        chain->comparisons.push_back(*found);
        TRY_ASSIGN(Expression * next, parse_sum());
        chain->operands.push_back(next);
    }
    return chain == nullptr ? Tree(first) : finish(chain);
}

Parser::Tree Parser::parse_sum() {
    TRY_ASSIGN(Expression * left, parse_concat());
    while (at_operator("+") || at_operator("-")) {
        const Operation operation = at_operator("+") ? Operation::kAdd : Operation::kSubtract;
        const int line = take().line;
        TRY_ASSIGN(Expression * right, parse_concat());
        TRY_ASSIGN(left, binary(operation, left, right, line));
    }
    return left;
}

Parser::Tree Parser::parse_concat() {
    const int line = token().line;
    TRY_ASSIGN(Expression * first, parse_product());
    if (!at_operator("~")) return first;
    Expression* concat = make(ExpressionKind::kConcat, line);
    concat->operands = {first};
    while (skip_operator("~")) {
        TRY_ASSIGN(Expression * next, parse_product());
        concat->operands.push_back(next);
    }
    return finish(concat);
}

Parser::Tree Parser::parse_product() {
    TRY_ASSIGN(Expression * left, parse_power());
    while (true) {
        Operation operation;
        if (at_operator("*")) {
            operation = Operation::kMultiply;
        } else if (at_operator("/")) {
            operation = Operation::kDivide;
        } else if (at_operator("//")) {
            operation = Operation::kFloorDivide;
        } else if (at_operator("%")) {
            operation = Operation::kModulo;
        } else {
            return left;
        }
        const int line = take().line;
        TRY_ASSIGN(Expression * right, parse_power());
        TRY_ASSIGN(left, binary(operation, left, right, line));
    }
}

Parser::Tree Parser::parse_power() {
    TRY_ASSIGN(Expression * left, parse_unary());
    while (at_operator("**")) {
        const int line = take().line;
        TRY_ASSIGN(Expression * right, parse_unary());
        TRY_ASSIGN(left, binary(Operation::kPower, left, right, line));
    }
    return left;
}

Parser::Tree Parser::parse_unary(bool with_filters) {
    const Level level(*this);
    TRY(level.check());
    Expression* node = nullptr;
    if (at_operator("-") || at_operator("+")) {
        const Operation operation = at_operator("-") ? Operation::kNegate : Operation::kPlus;
        const int line = take().line;
        TRY_ASSIGN(Expression * operand, parse_unary(false));
        TRY_ASSIGN(node, unary(operation, operand, line));
    } else {
        TRY_ASSIGN(node, parse_primary());
    }
    TRY_ASSIGN(node, parse_postfix(node));
    return with_filters ? parse_filters_and_tests(node) : Tree(node);
}

Parser::Tree Parser::parse_number(const Token& number) {
    std::string digits;
    for (const char c : number.text) {
        if (c != '_') digits.push_back(c);
    }
    if (number.kind == TokenKind::kFloat) {
        double value = 0;
        const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
        if (error == std::errc::result_out_of_range)
            return fail_at(number.line, fmt::format("the number {} is out of range", digits));
        return constant(value, number.line);
    }
    int base = 10;
    size_t begin = 0;
    if (digits.size() > 2 && digits[0] == '0') {
        const char letter = static_cast<char>(digits[1] | 0x20);
        base = letter == 'x' ? 16 : letter == 'o' ? 8 : letter == 'b' ? 2 : 10;
        if (base != 10) begin = 2;
    }
    int64_t value = 0;
    const auto [end, error] = std::from_chars(digits.data() + begin, digits.data() + digits.size(), value, base);
    if (error != std::errc())
        return fail_at(number.line, fmt::format("the integer {} does not fit into 64 bits", digits));
    return constant(value, number.line);
}

Parser::Tree Parser::parse_primary(bool with_namespace) {
    const Token& first = token();
    const int line = first.line;
    if (first.kind == TokenKind::kName) {
        take();
        if (first.text == "true" || first.text == "True") return constant(true, line);
        if (first.text == "false" || first.text == "False") return constant(false, line);
        if (first.text == "none" || first.text == "None") return constant(std::monostate(), line);
        Expression* name = make(ExpressionKind::kName, line);
        name->text = first.text;
        if (with_namespace && skip_operator(".")) {
            name->kind = ExpressionKind::kNamespace;
            TRY_ASSIGN(name->attribute, expect_name());
        }
        return name;
    }
    if (first.kind == TokenKind::kString) {
        std::string text;
        while (at(TokenKind::kString)) text += take().text;
        return constant(std::move(text), line);
    }
    if (first.kind == TokenKind::kInteger || first.kind == TokenKind::kFloat) return parse_number(take());
    if (at_operator("(")) {
        take();
        TRY_ASSIGN(Expression * inner, parse_tuple({.in_parentheses = true}));
        TRY(expect_operator(")"));
        return inner;
    }
    if (at_operator("[")) return parse_list();
    if (at_operator("{")) return parse_dict();
    return fail_at(line, fmt::format("expected an expression, found {}", describe(first)));
}

bool Parser::at_tuple_end(std::string_view end_name) const {
    return at(TokenKind::kPrintEnd) || at(TokenKind::kBlockEnd) || at_operator(")") ||
           (!end_name.empty() && at_name(end_name));
}

Parser::Tree Parser::parse_tuple(const TupleRules& rules) {
    int line = token().line;
    std::vector<Expression*> items;
    bool is_tuple = false;
    while (true) {
        if (!items.empty()) TRY(expect_operator(","));
        if (at_tuple_end(rules.end_name)) break;
        TRY_ASSIGN(Expression * item,
                   rules.targets_only ? parse_primary(rules.with_namespace) : parse_expression(rules.with_condition));
        items.push_back(item);
        if (!at_operator(",")) break;
        is_tuple = true;
        line = token().line;
    }
    if (!is_tuple) {
        if (!items.empty()) return items[0];
        if (!rules.in_parentheses)
            return fail_at(token().line, fmt::format("expected an expression, found {}", describe(token())));
    }
    Expression* tuple = make(ExpressionKind::kTuple, line);
    tuple->operands = std::move(items);
    return finish(tuple);
}

Parser::Tree Parser::parse_list() {
    Expression* list = make(ExpressionKind::kList, take().line);
    while (!at_operator("]")) {
        if (!list->operands.empty()) TRY(expect_operator(","));
        if (at_operator("]")) break;
        TRY_ASSIGN(Expression * item, parse_expression());
        list->operands.push_back(item);
    }
    TRY(expect_operator("]"));
    return finish(list);
}

Parser::Tree Parser::parse_dict() {
    Expression* dict = make(ExpressionKind::kDict, take().line);
    while (!at_operator("}")) {
        if (!dict->operands.empty()) TRY(expect_operator(","));
        if (at_operator("}")) break;
        TRY_ASSIGN(Expression * key, parse_expression());
        TRY(expect_operator(":"));
        TRY_ASSIGN(Expression * value, parse_expression());
        dict->operands.push_back(key);
        dict->operands.push_back(value);
    }
    TRY(expect_operator("}"));
    return finish(dict);
}

}  // namespace invar::jinja
