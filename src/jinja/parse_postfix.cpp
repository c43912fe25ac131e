// Parses what may follow an expression: attributes, subscripts, calls, filters and tests.
#include "jinja/builtins.h"
#include "jinja/parser.h"

namespace invar::jinja {

Parser::Tree Parser::parse_postfix(Expression* operand) {
    while (true) {
        if (at_operator(".") || at_operator("[")) {
            TRY_ASSIGN(operand, parse_subscript(operand));
        } else if (at_operator("(")) {
            TRY_ASSIGN(operand, parse_call(operand));
        } else {
            return operand;
        }
    }
}

Parser::Tree Parser::parse_filters_and_tests(Expression* operand) {
    while (true) {
        if (at_operator("|")) {
            TRY_ASSIGN(operand, parse_filter(operand, false));
        } else if (at_name("is")) {
            TRY_ASSIGN(operand, parse_test(operand));
        } else if (at_operator("(")) {
            TRY_ASSIGN(operand, parse_call(operand));
        } else {
            return operand;
        }
    }
}

Parser::Tree Parser::parse_subscript(Expression* operand) {
    const int line = token().line;
    if (skip_operator(".")) {
        const Token& name = take();
        if (name.kind == TokenKind::kName) {
            Expression* attribute = make(ExpressionKind::kAttribute, line);
            attribute->text = name.text;
            attribute->operands = {operand};
            return finish(attribute);
        }
        if (name.kind != TokenKind::kInteger)
            return fail_at(name.line, fmt::format("expected a name or a number after '.', found {}", describe(name)));
        Expression* item = make(ExpressionKind::kItem, line);
        TRY_ASSIGN(Expression * index, parse_number(name));
        item->operands = {operand, index};
        return finish(item);
    }
    TRY(expect_operator("["));
    Expression* item = make(ExpressionKind::kItem, line);
    item->operands = {operand};
    TRY(parse_slice_or_index(*item));
    if (at_operator(",")) {
        if (item->kind == ExpressionKind::kSlice) return fail_at(line, "a tuple of slices is not a subscript");
        Expression* tuple = make(ExpressionKind::kTuple, line);
        tuple->operands = {item->operands[1]};
        while (skip_operator(",")) {
            TRY_ASSIGN(Expression * next, parse_expression());
            tuple->operands.push_back(next);
        }
        TRY_ASSIGN(item->operands[1], finish(tuple));
    }
    TRY(expect_operator("]"));
    return finish(item);
}

Result<void> Parser::parse_slice_or_index(Expression& item) {
    if (at_operator("]")) return fail_at(item.line, "an empty subscript");
    Expression* parts[3] = {nullptr, nullptr, nullptr};
    const auto at_part_end = [&] { return at_operator(":") || at_operator("]") || at_operator(","); };
    if (!at_operator(":")) {
        TRY_ASSIGN(parts[0], parse_expression());
        if (!at_operator(":")) {
            item.operands.push_back(parts[0]);
            return {};
        }
    }
    item.kind = ExpressionKind::kSlice;
    TRY(expect_operator(":"));
    if (!at_part_end()) {
        TRY_ASSIGN(parts[1], parse_expression());
    }
    if (skip_operator(":") && !at_part_end()) {
        TRY_ASSIGN(parts[2], parse_expression());
    }
    item.operands.insert(item.operands.end(), std::begin(parts), std::end(parts));
    return {};
}

Result<void> Parser::parse_arguments(Expression& call) {
    const int line = token().line;
    TRY(expect_operator("("));
    const auto misplaced = [&] { return fail_at(line, "the arguments of this call are in no valid order"); };
    bool first = true;
    while (!at_operator(")")) {
        if (!first) {
            TRY(expect_operator(","));
            if (at_operator(")")) break;
        }
        first = false;
        if (skip_operator("*")) {
            if (call.spread_positional != nullptr || call.spread_keywords != nullptr) return misplaced();
            TRY_ASSIGN(call.spread_positional, parse_expression());
        } else if (skip_operator("**")) {
            if (call.spread_keywords != nullptr) return misplaced();
            TRY_ASSIGN(call.spread_keywords, parse_expression());
        } else if (at(TokenKind::kName) && at_operator("=", 1)) {
            if (call.spread_keywords != nullptr) return misplaced();
            const std::string name = take().text;
            take();
            for (const auto& [present, value] : call.keywords) {
                if (present == name) return fail_at(line, fmt::format("the argument '{}' is given twice", name));
            }
            TRY_ASSIGN(Expression * value, parse_expression());
            call.keywords.emplace_back(name, value);
        } else {
            if (call.spread_positional != nullptr || call.spread_keywords != nullptr || !call.keywords.empty())
                return misplaced();
            TRY_ASSIGN(Expression * value, parse_expression());
            call.positional.push_back(value);
        }
    }
    return expect_operator(")");
}

Parser::Tree Parser::parse_call(Expression* callee) {
    Expression* call = make(ExpressionKind::kCall, token().line);
    call->operands = {callee};
    TRY(parse_arguments(*call));
    return finish(call);
}

Result<std::string> Parser::parse_dotted_name() {
    TRY_ASSIGN(std::string name, expect_name());
    while (skip_operator(".")) {
        TRY_ASSIGN(const std::string part, expect_name());
        name += "." + part;
    }
    return name;
}

// Parses all filters that follow. In a filter block the first one has no '|' before it.
Parser::Tree Parser::parse_filter(Expression* operand, bool without_bar) {
    while (without_bar || at_operator("|")) {
        if (!without_bar) take();
        without_bar = false;
        Expression* filter = make(ExpressionKind::kFilter, token().line);
        TRY_ASSIGN(filter->text, parse_dotted_name());
        filter->operands = {operand};
        filter->builtin = find_filter(filter->text);
        if (is_refused_filter(filter->text))
            return fail_at(filter->line, fmt::format("the filter '{}' is not supported", filter->text));
        if (at_operator("(")) TRY(parse_arguments(*filter));
        TRY_ASSIGN(operand, finish(filter));
    }
    return operand;
}

Parser::Tree Parser::parse_test(Expression* operand) {
    Expression* test = make(ExpressionKind::kTest, take().line);
    const bool is_negated = skip_name("not");
    TRY_ASSIGN(test->text, parse_dotted_name());
    test->operands = {operand};
    test->builtin = find_test(test->text);
    const bool argument_follows = at(TokenKind::kName) || at(TokenKind::kString) || at(TokenKind::kInteger) ||
                                  at(TokenKind::kFloat) || at_operator("[") || at_operator("{");
    if (at_operator("(")) {
        TRY(parse_arguments(*test));
    } else if (argument_follows && !at_name("else") && !at_name("or") && !at_name("and")) {
        if (at_name("is")) return fail_at(test->line, "tests cannot be chained with 'is'");
        TRY_ASSIGN(Expression * argument, parse_primary());
        TRY_ASSIGN(argument, parse_postfix(argument));
        test->positional.push_back(argument);
    }
    TRY_ASSIGN(Expression * result, finish(test));
    return is_negated ? unary(Operation::kNot, result, test->line) : Tree(result);
}

}  // namespace invar::jinja
