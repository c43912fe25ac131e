// Turns tokens into a tree by jinja2's grammar, with the extension tags break, continue and generation. Variables are
// still names here; scopes.h turns them into slots. parse_statement.cpp parses statements, parse_expression.cpp
// expressions.
#pragma once

#include "jinja/lexer.h"
#include "jinja/tree.h"

namespace invar::jinja {

class Parser {
  public:
    Parser(std::vector<Token> tokens, Program& program) : tokens_(std::move(tokens)), program_(program) {}

    // Fills the program's body. Errors name the line: "line 3: ...".
    Result<void> parse();

  private:
    using Tree = Result<Expression*>;
    using Tags = std::initializer_list<std::string_view>;

    // Token stream.
    const Token& token(size_t ahead = 0) const { return tokens_[std::min(position_ + ahead, tokens_.size() - 1)]; }
    const Token& take() { return tokens_[position_ + 1 < tokens_.size() ? position_++ : position_]; }
    bool at(TokenKind kind) const { return token().kind == kind; }
    bool at_name(std::string_view name, size_t ahead = 0) const {
        return token(ahead).kind == TokenKind::kName && token(ahead).text == name;
    }
    bool at_operator(std::string_view text, size_t ahead = 0) const {
        return token(ahead).kind == TokenKind::kOperator && token(ahead).text == text;
    }
    bool skip_name(std::string_view name);
    bool skip_operator(std::string_view text);
    Result<void> expect(TokenKind kind, std::string_view what);
    Result<void> expect_operator(std::string_view text);
    Result<std::string> expect_name();
    tl::unexpected<Error> fail_at(int line, std::string_view what) const { return fail("line {}: {}", line, what); }

    // Nodes. finish() computes the height of a node and refuses one that is nested too deep.
    Expression* make(ExpressionKind kind, int line);
    Statement* make_statement(StatementKind kind, int line);
    Tree finish(Expression* expression);
    Tree constant(Constant value, int line);
    Tree unary(Operation operation, Expression* operand, int line);
    Tree binary(Operation operation, Expression* left, Expression* right, int line);

    // Statements.
    Result<Body> parse_body(Tags end_tags);
    Result<Body> parse_block(Tags end_tags);  // from the end of the opening tag to the end tag, which is not consumed
    Result<Body> parse_whole_block(std::string_view end_tag);
    Result<Statement*> parse_statement();
    Result<Statement*> parse_if();
    Result<Statement*> parse_for();
    Result<Statement*> parse_set();
    Result<Statement*> parse_macro();
    Result<Statement*> parse_call_block();
    Result<Statement*> parse_filter_block();
    Result<Statement*> parse_with();
    Result<Statement*> parse_generation();
    Result<Statement*> parse_print();
    Result<Statement*> parse_loop_control();
    Result<void> parse_signature(Statement& statement);
    Tree parse_target(bool with_namespace, std::string_view end_name = "");

    // Expressions, from the loosest binding to the tightest.
    Tree parse_expression(bool with_condition = true);
    Tree parse_condition();
    Tree parse_or();
    Tree parse_and();
    Tree parse_not();
    Tree parse_compare();
    Tree parse_sum();
    Tree parse_concat();
    Tree parse_product();
    Tree parse_power();
    Tree parse_unary(bool with_filters = true);
    Tree parse_primary(bool with_namespace = false);
    Tree parse_postfix(Expression* operand);
    Tree parse_filters_and_tests(Expression* operand);
    Tree parse_subscript(Expression* operand);
    Result<void> parse_slice_or_index(Expression& item);
    Tree parse_call(Expression* callee);
    Tree parse_filter(Expression* operand, bool without_bar);
    Tree parse_test(Expression* operand);
    Tree parse_list();
    Tree parse_dict();
    Tree parse_number(const Token& number);
    Result<void> parse_arguments(Expression& call);
    Result<std::string> parse_dotted_name();
    struct TupleRules {
        bool targets_only = false;  // only names, and with `with_namespace` attributes of namespaces
        bool with_namespace = false;
        bool with_condition = true;
        bool in_parentheses = false;     // then an empty tuple is allowed
        std::string_view end_name = "";  // a name that ends the tuple
    };
    Tree parse_tuple(const TupleRules& rules);
    bool at_tuple_end(std::string_view end_name) const;

    // One level of nested grammar, so that the parser's own recursion is bounded. Every cycle of the grammar passes
    // parse_unary, or counts itself: parse_not, the else of an inline if, and the bodies of statements.
    class Level {
      public:
        explicit Level(Parser& parser) : parser_(parser) { ++parser_.level_; }
        ~Level() { --parser_.level_; }
        Level(const Level&) = delete;
        Level& operator=(const Level&) = delete;
        Result<void> check() const;

      private:
        Parser& parser_;
    };

    std::vector<Token> tokens_;
    size_t position_ = 0;
    Program& program_;
    int level_ = 0;
    int loops_ = 0;  // how many loops surround this place within the same macro
};

}  // namespace invar::jinja
