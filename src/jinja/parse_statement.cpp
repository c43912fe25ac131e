// Parses statements, which stand between {% and %}. Tags that need other templates (include, import, extends, block) or
// HTML escaping (autoescape) are refused by name.
#include <algorithm>

#include "jinja/parser.h"

namespace invar::jinja {

namespace {

constexpr std::string_view kRefusedTags[] = {"include", "import",     "from",  "extends",
                                             "block",   "autoescape", "trans", "do"};

bool is_assignable(const Expression& target) {
    if (target.kind == ExpressionKind::kName || target.kind == ExpressionKind::kNamespace) return true;
    return target.kind == ExpressionKind::kTuple &&
           std::all_of(target.operands.begin(), target.operands.end(), [](auto* item) { return is_assignable(*item); });
}

}  // namespace

Result<void> Parser::parse() {
    TRY_ASSIGN(program_.body, parse_body({}));
    return {};
}

Statement* Parser::make_statement(StatementKind kind, int line) {
    Statement& statement = program_.statements.emplace_back();
    statement.kind = kind;
    statement.line = line;
    return &statement;
}

// Reads up to one of the end tags and takes its "{%", but not its name. Without end tags it reads to the end.
Result<Body> Parser::parse_body(Tags end_tags) {
    const Level level(*this);
    TRY(level.check());
    Body body;
    while (!at(TokenKind::kEnd)) {
        const int line = token().line;
        if (at(TokenKind::kText)) {
            Statement* text = make_statement(StatementKind::kText, line);
            text->text = take().text;
            body.push_back(text);
        } else if (at(TokenKind::kPrintBegin)) {
            take();
            Statement* print = make_statement(StatementKind::kPrint, line);
            TRY_ASSIGN(print->expression, parse_tuple({}));
            TRY(expect(TokenKind::kPrintEnd, "'}}'"));
            body.push_back(print);
        } else {
            take();  // a kBlockBegin, because the lexer yields nothing else here
            if (std::any_of(end_tags.begin(), end_tags.end(), [&](auto tag) { return at_name(tag); })) return body;
            TRY_ASSIGN(Statement * statement, parse_statement());
            body.push_back(statement);
            TRY(expect(TokenKind::kBlockEnd, "'%}'"));
        }
    }
    if (end_tags.size() != 0)
        return fail_at(token().line, fmt::format("the template ends where '{}' is expected", *(end_tags.end() - 1)));
    return body;
}

Result<Body> Parser::parse_block(Tags end_tags) {
    skip_operator(":");
    TRY(expect(TokenKind::kBlockEnd, "'%}'"));
    return parse_body(end_tags);
}

Result<Body> Parser::parse_whole_block(std::string_view end_tag) {
    TRY_ASSIGN(Body body, parse_block({end_tag}));
    take();
    return body;
}

Result<Statement*> Parser::parse_statement() {
    struct Tag {
        std::string_view name;
        Result<Statement*> (Parser::*parse)();
    };
    constexpr Tag kTags[] = {{"if", &Parser::parse_if},
                             {"for", &Parser::parse_for},
                             {"set", &Parser::parse_set},
                             {"macro", &Parser::parse_macro},
                             {"call", &Parser::parse_call_block},
                             {"filter", &Parser::parse_filter_block},
                             {"with", &Parser::parse_with},
                             {"generation", &Parser::parse_generation},
                             {"print", &Parser::parse_print},
                             {"break", &Parser::parse_loop_control},
                             {"continue", &Parser::parse_loop_control}};
    const Token& name = token();
    if (name.kind != TokenKind::kName)
        return fail_at(name.line, fmt::format("expected the name of a tag, found {}", describe(name)));
    for (const Tag& tag : kTags) {
        if (tag.name == name.text) return (this->*tag.parse)();
    }
    if (std::find(std::begin(kRefusedTags), std::end(kRefusedTags), name.text) != std::end(kRefusedTags))
        return fail_at(name.line, fmt::format("the tag '{}' is not supported", name.text));
    if (name.text.substr(0, 3) == "end" || name.text == "else" || name.text == "elif")
        return fail_at(name.line, fmt::format("the tag '{}' closes nothing that is open", name.text));
    return fail_at(name.line, fmt::format("there is no tag '{}'", name.text));
}

Result<Statement*> Parser::parse_if() {
    Statement* statement = make_statement(StatementKind::kIf, token().line);
    while (true) {
        const int line = take().line;  // "if" or "elif"
        TRY_ASSIGN(Expression * test, parse_tuple({.with_condition = false}));
        TRY_ASSIGN(Body body, parse_block({"elif", "else", "endif"}));
        statement->branches.push_back({test, std::move(body), line});
        if (at_name("elif")) continue;
        if (take().text == "else") {
            TRY_ASSIGN(statement->else_body, parse_whole_block("endif"));
        }
        return statement;
    }
}

Result<Statement*> Parser::parse_for() {
    Statement* statement = make_statement(StatementKind::kFor, take().line);
    TRY_ASSIGN(statement->target, parse_target(false, "in"));
    if (!skip_name("in")) return fail_at(token().line, fmt::format("expected 'in', found {}", describe(token())));
    TRY_ASSIGN(statement->expression, parse_tuple({.with_condition = false, .end_name = "recursive"}));
    if (skip_name("if")) {
        TRY_ASSIGN(statement->test, parse_expression());
    }
    statement->is_recursive = skip_name("recursive");
    const int outer_loops = loops_;
    loops_ = (statement->is_recursive ? 0 : loops_) + 1;
    TRY_ASSIGN(statement->body, parse_block({"else", "endfor"}));
    loops_ = statement->is_recursive ? 0 : outer_loops;
    if (take().text == "else") {
        TRY_ASSIGN(statement->else_body, parse_whole_block("endfor"));
    }
    loops_ = outer_loops;
    return statement;
}

Result<Statement*> Parser::parse_set() {
    const int line = take().line;
    TRY_ASSIGN(Expression * target, parse_target(true));
    Statement* statement = make_statement(StatementKind::kSet, line);
    statement->target = target;
    if (skip_operator("=")) {
        TRY_ASSIGN(statement->expression, parse_tuple({}));
        return statement;
    }
    statement->kind = StatementKind::kSetBlock;
    TRY_ASSIGN(statement->expression, parse_filter(nullptr, false));
    TRY_ASSIGN(statement->body, parse_whole_block("endset"));
    return statement;
}

Parser::Tree Parser::parse_target(bool with_namespace, std::string_view end_name) {
    TRY_ASSIGN(Expression * target,
               parse_tuple({.targets_only = true, .with_namespace = with_namespace, .end_name = end_name}));
    if (!is_assignable(*target)) return fail_at(target->line, "this cannot be assigned to; name a variable");
    return target;
}

Result<void> Parser::parse_signature(Statement& statement) {
    TRY(expect_operator("("));
    while (!at_operator(")")) {
        if (!statement.parameters.empty()) TRY(expect_operator(","));
        const int line = token().line;
        Expression* parameter = make(ExpressionKind::kName, line);
        TRY_ASSIGN(parameter->text, expect_name());
        for (const Expression* other : statement.parameters) {
            if (other->text == parameter->text)
                return fail_at(line, fmt::format("the parameter '{}' is named twice", parameter->text));
        }
        if (skip_operator("=")) {
            TRY_ASSIGN(Expression * value, parse_expression());
            statement.defaults.push_back(value);
        } else if (!statement.defaults.empty()) {
            return fail_at(line,
                           fmt::format("the parameter '{}' needs a default, as the one before it", parameter->text));
        }
        statement.parameters.push_back(parameter);
    }
    return expect_operator(")");
}

Result<Statement*> Parser::parse_macro() {
    Statement* statement = make_statement(StatementKind::kMacro, take().line);
    TRY_ASSIGN(statement->text, expect_name());
    TRY(parse_signature(*statement));
    const int outer_loops = std::exchange(loops_, 0);
    TRY_ASSIGN(statement->body, parse_whole_block("endmacro"));
    loops_ = outer_loops;
    return statement;
}

Result<Statement*> Parser::parse_call_block() {
    Statement* statement = make_statement(StatementKind::kCallBlock, take().line);
    if (at_operator("(")) TRY(parse_signature(*statement));
    TRY_ASSIGN(statement->expression, parse_expression());
    if (statement->expression->kind != ExpressionKind::kCall)
        return fail_at(statement->line, "a call block must call something, e.g. {% call name() %}");
    const int outer_loops = std::exchange(loops_, 0);
    TRY_ASSIGN(statement->body, parse_whole_block("endcall"));
    loops_ = outer_loops;
    return statement;
}

Result<Statement*> Parser::parse_filter_block() {
    Statement* statement = make_statement(StatementKind::kFilterBlock, take().line);
    TRY_ASSIGN(statement->expression, parse_filter(nullptr, true));
    TRY_ASSIGN(statement->body, parse_whole_block("endfilter"));
    return statement;
}

Result<Statement*> Parser::parse_with() {
    Statement* statement = make_statement(StatementKind::kWith, take().line);
    while (!at(TokenKind::kBlockEnd)) {
        if (!statement->targets.empty()) TRY(expect_operator(","));
        TRY_ASSIGN(Expression * target, parse_target(false));
        TRY(expect_operator("="));
        TRY_ASSIGN(Expression * value, parse_expression());
        statement->targets.push_back(target);
        statement->values.push_back(value);
    }
    TRY_ASSIGN(statement->body, parse_whole_block("endwith"));
    return statement;
}

// {% generation %} marks the model's own text for training. Here its body is simply printed.
Result<Statement*> Parser::parse_generation() {
    Statement* statement = make_statement(StatementKind::kGeneration, take().line);
    const int outer_loops = std::exchange(loops_, 0);
    TRY_ASSIGN(statement->body, parse_whole_block("endgeneration"));
    loops_ = outer_loops;
    return statement;
}

Result<Statement*> Parser::parse_print() {
    Statement* statement = make_statement(StatementKind::kPrint, take().line);
    Expression* concat = make(ExpressionKind::kConcat, statement->line);
    while (!at(TokenKind::kBlockEnd)) {
        if (!concat->operands.empty()) TRY(expect_operator(","));
        TRY_ASSIGN(Expression * value, parse_expression());
        concat->operands.push_back(value);
    }
    TRY_ASSIGN(statement->expression, finish(concat));
    return statement;
}

Result<Statement*> Parser::parse_loop_control() {
    const Token& name = take();
    if (loops_ == 0) return fail_at(name.line, fmt::format("'{}' outside of a loop", name.text));
    return make_statement(name.text == "break" ? StatementKind::kBreak : StatementKind::kContinue, name.line);
}

}  // namespace invar::jinja
